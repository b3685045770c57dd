/**
 * One run of an executor, from this side of its channel: the job goes in, log and outputs come out.
 *
 * Frames are read when somebody asks for what is in them, so an executor, and the builder behind it, is slowed down by
 * whoever reads slowly. Those of outputs are handed on as their bytes come, and never gathered. A frame that does not belong where it comes ends the run: the executor is then no longer one.
 */
import { Clock, Deferred, Effect, Stream } from "effect"
import { WireError } from "../../protocol/wire/Codec.ts"
import * as Source from "../../protocol/wire/Source.ts"
import { print } from "../../protocol/nix/StorePath.ts"
import type { Job } from "../Job.ts"
import { OutputRefused } from "../OutputImport.ts"
import type { Ended, Running } from "../Sandbox.ts"
import { SandboxError } from "../SandboxError.ts"
import * as Contents from "./Contents.ts"
import type { ExecutorChannel } from "./DuplexChannel.ts"
import * as Frame from "./Frame.ts"

const failed = (operation: string, detail: string) => new SandboxError({ operation, detail })

/** What a backend makes of the end of a builder. */
type Judged = Pick<Ended, "exit" | "usage">

/** What a backend knows beside what the executor says. */
export interface Backstage {
  /** How the builder ended, from what the executor saw. */
  readonly judge: (exited: Frame.Exited) => Effect.Effect<Judged, SandboxError>
  /** Asked for once the builder has ended, while everything of it is still there. */
  readonly inputsRead?: Effect.Effect<Ended["inputsRead"], SandboxError>
  /** Of a machine: the frames that it is told once it has booted, before it is ready. */
  readonly greeting?: Effect.Effect<ReadonlyArray<Uint8Array>>
  /** Whether the machine is the copy of one that has said already that it has booted. */
  readonly isCopy?: boolean
  /** The executor is ready for its job. */
  readonly onReady?: Effect.Effect<void>
  /** The executor has said that it lives. Heard only while somebody reads what else it says. */
  readonly beat?: Effect.Effect<void>
  /** The executor is gone. How the builder ended, if that is known even so; else fails with the reason. */
  readonly lost: (error: SandboxError) => Effect.Effect<Judged, SandboxError>
}

/**
 * Signs of life come every second, by a clock that may be wrong, and all at once where nobody has listened for hours. Said
 * without end they would keep this process busy with nothing.
 */
const beats = { free: 50_000, perSecond: 10 }

/** Counts signs of life, and says where there are too many of them. */
const beatCounter = Effect.fnUntraced(function* () {
  const begun = yield* Clock.currentTimeMillis
  let count = 0
  return Effect.suspend(() => {
    count++
    if (count <= beats.free) return Effect.void
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const seconds = Math.round((now - begun) / 1000)
      return count <= beats.free + beats.perSecond * seconds
        ? Effect.void
        : Effect.fail(new WireError({ expected: "a sign of life a second", found: `${count} in ${seconds} s` }))
    })
  })
})

export const start = Effect.fnUntraced(function* (
  channel: ExecutorChannel,
  job: Job,
  backstage: Backstage
): Effect.fn.Return<Running, SandboxError> {
  const { greeting, isCopy = false, onReady = Effect.void } = backstage
  let state: Frame.State = greeting === undefined || isCopy ? "Starting" : "Booting"
  const ended = yield* Deferred.make<Ended, SandboxError>()
  const contents = Contents.make(channel.input)
  const countBeat = yield* beatCounter()

  const heard = Effect.gen(function* () {
    const header = Frame.header(yield* Source.take(channel.input, Frame.headerBytes))
    if (header instanceof WireError) return yield* header
    if (state === "Sending" && Frame.isContents(header)) {
      contents.begin(header.length)
      return { _tag: "NarData", bytes: nothing } as const
    }
    const payload = yield* Source.take(channel.input, header.length)
    const frame = Frame.decode(header, payload, job.outputs.length)
    return frame instanceof WireError ? yield* frame : frame
  })

  /** The next frame that is more than a sign of life, which has to be one that is expected now. */
  const next = Effect.gen(function* () {
    let frame = yield* heard
    while (frame._tag === "Heartbeat" && state !== "Booting" && state !== "Starting") {
      yield* countBeat
      yield* backstage.beat ?? Effect.void
      frame = yield* heard
    }
    if (frame._tag === "Failed") return yield* failed("making the sandbox", frame.detail)
    const following: Frame.State | undefined = Frame.expected[state][frame._tag]
    if (following === undefined) {
      return yield* new WireError({ expected: `a frame of an executor that is ${state}`, found: frame._tag })
    }
    state = following
    return frame
  }).pipe(Effect.catchTag("WireError", (error) => Effect.fail(failed("listening to the executor", error.message))))

  /** Outside of the builder's life an end of the executor has no good reason. */
  const explained = <A>(effect: Effect.Effect<A, SandboxError>) =>
    Effect.catchTag(effect, "SandboxError", (error) => Effect.andThen(backstage.lost(error), Effect.fail(error)))

  if (greeting !== undefined) {
    if (state === "Booting") yield* explained(next)
    yield* explained(Effect.forEach(yield* greeting, channel.write, { discard: true }))
  }
  const ready = yield* explained(next)
  if (ready._tag !== "Ready" || ready.version !== Frame.version) {
    return yield* failed("listening to the executor", "expected one of this version, found another")
  }
  yield* onReady
  yield* explained(Effect.forEach(frames(job), (frame) => Effect.flatMap(frame, channel.write), { discard: true }))
  state = "Running"
  const begun = yield* Clock.currentTimeNanos
  const timed = ({ exit, usage }: Judged) =>
    Effect.map(Clock.currentTimeNanos, (now): Judged => {
      return { exit, usage: { ...usage, runMilliseconds: Math.round(Number(now - begun) / 1e6) } }
    })
  const watched: Backstage = {
    ...backstage,
    judge: (exited) => Effect.flatMap(backstage.judge(exited), timed),
    lost: (error) => Effect.flatMap(backstage.lost(error), timed)
  }

  /** A piece of the log, or undefined when the builder has ended. */
  const piece = Effect.gen(function* () {
    const frame = yield* next
    if (frame._tag === "Log") return [frame.bytes, undefined] as const
    // Nothing else is expected while it runs.
    if (frame._tag === "Exited") yield* Deferred.succeed(ended, yield* summary(job, frame, watched))
    return undefined
  }).pipe(
    Effect.catchTag("SandboxError", (error) =>
      Effect.flatMap(watched.lost(error), (known) =>
        Deferred.succeed(ended, { ...known, outputs: [], inputsRead: null })
      ).pipe(Effect.as(undefined))
    ),
    Effect.tapError((error) => Deferred.fail(ended, error))
  )
  const log = Stream.unfold(undefined, () => (state === "Running" ? piece : Effect.undefined))

  const output = Effect.fnUntraced(function* (name: string) {
    const declared = job.outputs.find((each) => each.name === name)
    if (state !== "Ended" || declared === undefined)
      return yield* failed("reading an output", "asked at the wrong time")
    state = "Sending"
    yield* channel.write(Frame.send(declared.path))
    return sourceOf(contents, explained, next, (reason, path) => refusal(job, declared, reason, path))
  })

  return { log, ended: Deferred.await(ended), output, withoutNetwork: null }
})

function* frames(job: Job): Generator<Effect.Effect<Uint8Array, SandboxError>> {
  const all = Frame.job(job)
  try {
    for (const frame of all) yield Effect.succeed(frame)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    yield Effect.fail(failed("telling the executor its job", error.message))
  }
}

const summary = (
  job: Job,
  exited: Frame.Exited,
  { inputsRead, judge }: Backstage
): Effect.Effect<Ended, SandboxError> =>
  Effect.zipWith(judge(exited), inputsRead ?? Effect.succeed(null), (judged, inputsRead) => ({
    ...judged,
    inputsRead,
    outputs: job.outputs.filter((_, index) => exited.present[index] === true).map(({ name }) => name)
  }))

const nothing = new Uint8Array(0)

/** The NAR out of its frames. */
const sourceOf = (
  contents: Contents.Contents,
  explained: <A>(effect: Effect.Effect<A, SandboxError>) => Effect.Effect<A, SandboxError>,
  next: Effect.Effect<Frame.FromExecutor, SandboxError>,
  refuse: (reason: Frame.Refusal, path: string) => OutputRefused
): Source.Source<SandboxError | OutputRefused> => {
  let hasEnded = false
  const piece = explained(contents.peek)
  const frame = explained(next)
  const peek: Effect.Effect<Uint8Array, SandboxError | OutputRefused> = Effect.suspend(() => {
    if (hasEnded) return Effect.succeed(nothing)
    if (contents.left() > 0) return piece
    return Effect.flatMap(frame, (heard) => {
      if (heard._tag === "NarRefused") return Effect.fail(refuse(heard.reason, heard.path))
      hasEnded = heard._tag !== "NarData"
      return peek
    })
  })
  return { peek, advance: contents.advance }
}

/** In Nix's own words. `path` is below the store directory. */
const refusal = (
  { derivationPath }: Job,
  output: Job["outputs"][number],
  reason: Frame.Refusal,
  path: string
): OutputRefused => {
  const place = `'/nix/store/${path}'`
  const details: { readonly [R in Frame.Refusal]: string } = {
    missing: `builder for '${print(derivationPath)}' failed to produce output path for output '${output.name}' at '${print(output.path)}'`,
    suspicious: `suspicious ownership or permission on ${place}; rejecting this build output`,
    ownership: `invalid ownership on file ${place}`,
    type: `file ${place} has an unsupported type`,
    depth: `file ${place} is nested too deeply`,
    entries: `directory ${place} has too many entries`
  }
  return new OutputRefused({ detail: details[reason] })
}
