/**
 * What a client says on its channel, and hears, by either protocol: a build asked for, its log, its result, and whether
 * the output is then there. Past the last answer there may be nothing.
 */
import { Effect, Schema } from "effect"
import type { Request } from "../../src/actors/build/Builds.ts"
import type { ChannelClosed } from "../../src/actors/session/Channel.ts"
import type { BuildResult } from "../../src/protocol/nix/BuildResult.ts"
import * as Command from "../../src/protocol/serve/Command.ts"
import * as ServeHandshake from "../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../src/protocol/wire/Codec.ts"
import * as Source from "../../src/protocol/wire/Source.ts"
import * as Stderr from "../../src/protocol/wire/Stderr.ts"
import * as Handshake from "../../src/protocol/worker/Handshake.ts"
import * as Operation from "../../src/protocol/worker/Operation.ts"
import { operations } from "../../src/protocol/worker/Operations.ts"
import * as Version from "../../src/protocol/worker/Version.ts"
import type { Chance } from "./Chance.ts"
import type { End } from "./Wire.ts"

/** The server has said what no server may say at this point. */
export class Unexpected extends Schema.TaggedError<Unexpected>()("Unexpected", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

export type Failure = ChannelClosed | Codec.WireError | Unexpected

export interface Asked extends Pick<Request, "derivation" | "derivationPath" | "limits" | "check"> {
  /** The output that it makes. */
  readonly path: Codec.Codec.Type<typeof Command.commands.QueryValidPaths.request>["paths"][number]
}

export interface Heard {
  readonly result: Pick<BuildResult, "status" | "error">
  /** The log, in lines. */
  readonly lines: ReadonlyArray<string>
  /** Whether the store has the output, asked once there is a result. */
  readonly isValid: boolean
}

const decoder = new TextDecoder()

/** Those from which on something is said in another way. */
const workerVersions: ReadonlyArray<Codec.Version> = [0x010f, 0x0115, 0x011c, 0x0125, Version.newest, Version.newest]
const serveVersions: ReadonlyArray<Codec.Version> = [ServeHandshake.oldest, 0x0206, ServeHandshake.newest]

/** Half of what is read is read late, by some. */
const reading = (end: End, chance: Chance) => {
  const read = Source.reader(end.input)
  const isSlow = chance.happens(0.2)
  return <A>(codec: Codec.Codec<A>, version: Codec.Version) =>
    isSlow && chance.happens(0.1)
      ? Effect.andThen(Effect.sleep(chance.below(4000)), read(codec, version))
      : read(codec, version)
}

/** Has nothing more to say; hears what is left, of which there may be none. */
const finish = Effect.fnUntraced(function* (end: End) {
  end.end()
  const left = yield* Effect.catchTag(Source.drain(end.input), "ChannelClosed", () => Effect.succeed(0))
  if (left > 0) return yield* new Unexpected({ detail: `was told ${left} bytes more than its answers` })
})

export const worker = Effect.fnUntraced(function* (
  end: End,
  { check, derivation, derivationPath: path, limits: { timeoutSeconds }, path: output }: Asked,
  chance: Chance
): Effect.fn.Return<Heard, Failure> {
  const greeting = { version: chance.pick(workerVersions), features: Version.offered, eager: chance.happens(0.7) }
  const { agreed } = yield* Handshake.open(end.input, end.write, greeting)
  const read = reading(end, chance)
  const first = yield* read(Stderr.Message, agreed)
  if (first._tag !== "Last") return yield* new Unexpected({ detail: `was greeted with ${first._tag}` })
  const lines: Array<string> = []

  const ask = Effect.fnUntraced(function* <A, B>(operation: Operation.Operation<A, B>, request: A) {
    yield* end.write(Codec.encode(Operation.Code, operation.code, agreed))
    yield* end.write(Codec.encode(operation.request, request, agreed))
    for (;;) {
      const message = yield* read(Stderr.Message, agreed)
      if (message._tag === "Last") return yield* read(operation.response, agreed)
      if (message._tag === "Error") return yield* new Unexpected({ detail: `was told ${message.message}` })
      const line = lineOf(message)
      if (line !== null) lines.push(line)
    }
  })

  if (timeoutSeconds !== null) yield* ask(operations.SetOptions, optionsOf(timeoutSeconds))
  const mode = check ? "check" : "normal"
  const result = yield* ask(operations.BuildDerivation, { path, derivation, mode } as const)
  const valid = yield* ask(operations.QueryValidPaths, { paths: [output], substitute: false })
  yield* finish(end)
  return { result, lines, isValid: valid.length > 0 }
})

export const serve = Effect.fnUntraced(function* (
  end: End,
  { derivation, derivationPath: path, limits: { timeoutSeconds }, path: output }: Asked,
  chance: Chance
): Effect.fn.Return<Heard, Failure> {
  const agreed = yield* ServeHandshake.open(end.input, end.write, chance.pick(serveVersions))
  const read = reading(end, chance)

  const ask = Effect.fnUntraced(function* <A, B>(command: Command.Command<A, B>, request: A) {
    yield* end.write(Codec.encode(Command.Code, command.code, agreed))
    yield* end.write(Codec.encode(command.request, request, agreed))
    return yield* read(command.response, agreed)
  })

  const options = {
    silenceSecondsMax: 0,
    secondsMax: timeoutSeconds ?? 0,
    logBytesMax: 0n,
    repetitions: 0,
    enforceDeterminism: false,
    keepFailed: false
  }
  const result = yield* ask(Command.commands.BuildDerivation, { path, derivation, options })
  const lines = end.errors.split("\n").slice(0, -1)
  const valid = yield* ask(Command.commands.QueryValidPaths, { lock: true, substitute: false, paths: [output] })
  yield* finish(end)
  return { result, lines, isValid: valid.length > 0 }
})

/** The line of a log that a message bears, if it does. */
const lineOf = (message: Stderr.Message): string | null => {
  if (message._tag === "Next") return decoder.decode(message.text).replace(/\n$/, "")
  if (message._tag !== "Result" || message.type !== "buildLogLine") return null
  const [field] = message.fields
  return field instanceof Uint8Array ? decoder.decode(field) : null
}

const optionsOf = (timeoutSeconds: number) => ({
  keepFailed: false,
  keepGoing: false,
  tryFallback: false,
  verbosity: 0n,
  buildJobsMax: 0n,
  silenceSecondsMax: 0n,
  useBuildHook: 0n,
  buildVerbosity: 0n,
  logType: 0n,
  printBuildTrace: 0n,
  buildCores: 0n,
  useSubstitutes: true,
  overrides: [["timeout", String(timeoutSeconds)] as const]
})
