/**
 * What sessions are tested with: a real store, builds in the test's hands, and clients that speak either protocol.
 */
import { Deferred, Effect, Fiber, Layer, type Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import * as fs from "node:fs"
import { type Answer, Builds, type Heard, type Request, type Waiting } from "../../src/actors/build/Builds.ts"
import type { Refused } from "../../src/actors/build/Refused.ts"
import type * as Session from "../../src/actors/session/Channel.ts"
import { Quotas } from "../../src/actors/quota/Quotas.ts"
import * as ServeSession from "../../src/actors/session/ServeSession.ts"
import * as WorkerSession from "../../src/actors/session/WorkerSession.ts"
import type { Account } from "../../src/domain/Account.ts"
import { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import * as Command from "../../src/protocol/serve/Command.ts"
import * as ServeHandshake from "../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../src/protocol/wire/Codec.ts"
import * as Framed from "../../src/protocol/wire/Framed.ts"
import * as Source from "../../src/protocol/wire/Source.ts"
import * as Stderr from "../../src/protocol/wire/Stderr.ts"
import * as Handshake from "../../src/protocol/worker/Handshake.ts"
import * as Operation from "../../src/protocol/worker/Operation.ts"
import * as Operations from "../../src/protocol/worker/Operations.ts"
import * as Version from "../../src/protocol/worker/Version.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import * as FileBlobStore from "../../src/storage/blob/FileBlobStore.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { QuotaRepository } from "../../src/storage/QuotaRepository.ts"
import { RealisationRepository } from "../../src/storage/RealisationRepository.ts"
import { ViewRepository } from "../../src/storage/ViewRepository.ts"
import * as Channel from "./channel.ts"
import { hashOf } from "./nar.ts"
import { TestDatabase } from "./postgres.ts"

// -----------------------------------------------------------------------------
// the server's side
// -----------------------------------------------------------------------------

const directory = Layer.unwrap(
  Effect.gen(function* () {
    const path = fs.mkdtempSync("/tmp/drover-test-sessions-")
    yield* Effect.addFinalizer(() => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true })))
    return FileBlobStore.layer(path)
  })
)

export const built: Answer = {
  status: "Built",
  message: "",
  timesBuilt: 1,
  startedAt: 1_700_000_000,
  endedAt: 1_700_000_009,
  cpuUserMicroseconds: 5,
  cpuSystemMicroseconds: null,
  outputs: []
}

/** Builds that say and answer what the test told them to, and remember who asked and who left. */
export const builds = {
  requests: [] as Array<Request>,
  left: 0,
  answer: (_: Request): Effect.Effect<Waiting, Refused> => builds.saying([], built),
  /** A build that says all this, and ends so. */
  saying: (heard: ReadonlyArray<Heard>, answer: Answer): Effect.Effect<Waiting> =>
    Effect.succeed({ build: null, heard: Stream.fromIterable(heard), answer: Effect.succeed(answer) }),
  /** A build that never ends; `begun` once somebody waits for it. */
  endless: (begun: Deferred.Deferred<void>): Effect.Effect<Waiting> =>
    Effect.as(Deferred.succeed(begun, undefined), { build: null, heard: Stream.never, answer: Effect.never })
}

const FakeBuilds = Layer.succeed(Builds, {
  standing: () => Effect.succeed(null),
  submit: (request) =>
    Effect.gen(function* () {
      builds.requests.push(request)
      yield* Effect.addFinalizer(() => Effect.sync(() => void builds.left++))
      return yield* builds.answer(request)
    })
})

export const SessionServices = Layer.mergeAll(
  FakeBuilds,
  NarStore.layer.pipe(Layer.provide(directory)),
  Quotas.layer({ storedBytes: null }).pipe(
    Layer.provideMerge(QuotaRepository.layer),
    Layer.provideMerge(ViewRepository.layer)
  ),
  RealisationRepository.layer,
  AccountRepository.layer
).pipe(Layer.provideMerge(TestDatabase), Layer.provide(SecureRandom.layerWebCrypto))

// -----------------------------------------------------------------------------
// the client's side
// -----------------------------------------------------------------------------

/** What a client reads of a session, and how the session ends. */
interface Connected {
  readonly client: Channel.Client
  readonly exitStatus: Effect.Effect<number>
}

/** A session of whatever kind, and nothing said yet. */
export const connect = Effect.fnUntraced(function* (
  account: Account,
  run: (channel: Session.Channel) => Effect.Effect<number, never, WorkerSession.Services>,
  options: { readonly windowBytes?: number } = {}
): Effect.fn.Return<Connected, never, WorkerSession.Services | Scope.Scope> {
  const { channel, client } = Channel.make(account, options)
  // As the door does: once the session has ended, so has the channel.
  const session = yield* Effect.forkScoped(Effect.ensuring(run(channel), client.close), { startImmediately: true })
  return { client, exitStatus: Fiber.join(session) }
})

/** What an operation came to: what was said on the way, and the response or the error. */
export interface Answered<A> {
  readonly messages: ReadonlyArray<Stderr.Message>
  readonly response: A | null
  readonly error: string | null
}

export interface WorkerClient extends Connected {
  readonly agreed: Codec.Version
  readonly server: Handshake.Server
  /** Sends a request, with these bytes after it. */
  readonly send: <N extends Operations.Name>(
    name: N,
    request: Operations.Request<N>,
    upload?: Uint8Array
  ) => Effect.Effect<void, Session.ChannelClosed>
  /** Reads the answer to one. */
  readonly answer: <N extends Operations.Name>(
    name: N
  ) => Effect.Effect<Answered<Operations.Response<N>>, Session.ChannelClosed | Codec.WireError>
  readonly ask: <N extends Operations.Name>(
    name: N,
    request: Operations.Request<N>,
    upload?: Uint8Array
  ) => Effect.Effect<Answered<Operations.Response<N>>, Session.ChannelClosed | Codec.WireError>
}

/** A client of this version; `eager` ones do not wait for the server's word. */
export const workerClient = Effect.fnUntraced(function* (
  account: Account,
  options: {
    readonly version?: Codec.Version
    readonly eager?: boolean
    readonly features?: ReadonlyArray<string>
  } = {}
) {
  const { client, exitStatus } = yield* connect(account, WorkerSession.run)
  const { agreed, server } = yield* Handshake.open(client.input, client.send, {
    version: options.version ?? Version.newest,
    features: options.features ?? [],
    eager: options.eager ?? true
  })
  const read = Source.reader(client.input)
  const greeting = yield* read(Stderr.Message, agreed)
  if (greeting._tag !== "Last") throw new Error(`greeted with ${greeting._tag}`)

  const operationOf = <N extends Operations.Name>(name: N) =>
    Operations.operations[name] as unknown as Operation.Operation<Operations.Request<N>, Operations.Response<N>>

  const send: WorkerClient["send"] = Effect.fnUntraced(function* (name, request, upload = new Uint8Array(0)) {
    const operation = operationOf(name)
    yield* client.send(Codec.encode(Operation.Code, operation.code, agreed))
    yield* client.send(Codec.encode(operation.request, request, agreed))
    yield* client.send(upload)
  })
  const answer: WorkerClient["answer"] = Effect.fnUntraced(function* (name) {
    const messages: Array<Stderr.Message> = []
    for (;;) {
      const message = yield* read(Stderr.Message, agreed)
      if (message._tag === "Error") return { messages, response: null, error: message.message }
      if (message._tag === "Last") {
        return { messages, response: yield* read(operationOf(name).response, agreed), error: null }
      }
      messages.push(message)
    }
  })
  const ask: WorkerClient["ask"] = (name, request, upload) => Effect.andThen(send(name, request, upload), answer(name))
  return { client, exitStatus, agreed, server, send, answer, ask } satisfies WorkerClient
})

export const serveClient = Effect.fnUntraced(function* (
  account: Account,
  options: { readonly version?: Codec.Version; readonly writable?: boolean } = {}
) {
  const { client, exitStatus } = yield* connect(account, (channel) =>
    ServeSession.run(channel, { writable: options.writable ?? true })
  )
  const agreed = yield* ServeHandshake.open(client.input, client.send, options.version)
  const read = Source.reader(client.input)
  const commandOf = <N extends Command.Name>(name: N) =>
    Command.commands[name] as unknown as Command.Command<Command.Request<N>, Command.Response<N>>

  const send = Effect.fnUntraced(function* <N extends Command.Name>(
    name: N,
    request: Command.Request<N>,
    upload: Uint8Array = new Uint8Array(0)
  ) {
    const command = commandOf(name)
    yield* client.send(Codec.encode(Command.Code, command.code, agreed))
    yield* client.send(Codec.encode(command.request, request, agreed))
    yield* client.send(upload)
  })
  const answer = <N extends Command.Name>(name: N) => read(commandOf(name).response, agreed)
  const ask = <N extends Command.Name>(name: N, request: Command.Request<N>, upload?: Uint8Array) =>
    Effect.andThen(send(name, request, upload), answer(name))
  return { client, exitStatus, agreed, send, answer, ask }
})

// -----------------------------------------------------------------------------
// what is sent
// -----------------------------------------------------------------------------

let invented = 0

/** A store path that nothing else has. */
export const newPath = (name: string): StorePath => {
  const digits = `${process.pid}x${++invented}`
  return StorePath.make(`${digits.replaceAll(/[eotu]/g, "0").padStart(32, "0")}-${name}`)
}

/** The info that is true of a NAR. */
export const infoOf = (path: StorePath, nar: Uint8Array, more: Partial<typeof PathInfo.Type> = {}): PathInfo =>
  new PathInfo({
    path,
    deriver: null,
    narHash: hashOf(nar),
    narSize: nar.length,
    references: [],
    registrationTime: 0,
    ultimate: false,
    signatures: [],
    contentAddress: "",
    ...more
  })

/** As frames of at most this many bytes, with their end. */
export const framed = (bytes: Uint8Array, size = 10_000): Buffer => {
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    Framed.frame(bytes.subarray(index * size, (index + 1) * size))
  )
  return Buffer.concat([...chunks.flat(), Framed.terminator])
}
