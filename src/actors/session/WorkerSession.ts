/**
 * A session that speaks the worker protocol: `nix-daemon --stdio`, which `ssh-ng://` runs.
 *
 *     handshake, then as often as the client likes
 *     code, request, upload  ──▶  messages while it is worked on  ──▶  Last, response, download
 *                                                                 └─▶  Error
 *
 * An operation that was not done is told so, and the connection goes on; where it can no longer be known where the
 * next message begins, it is told so and ends. The client's leaving ends whatever was under way.
 */
import { Effect, identity, Ref, type Scope } from "effect"
import type { Limits } from "../../domain/Limits.ts"
import type { Codec } from "../../protocol/wire/Codec.ts"
import * as Stderr from "../../protocol/wire/Stderr.ts"
import * as Handshake from "../../protocol/worker/Handshake.ts"
import * as Operation from "../../protocol/worker/Operation.ts"
import * as Operations from "../../protocol/worker/Operations.ts"
import * as Version from "../../protocol/worker/Version.ts"
import * as Request from "../../telemetry/Request.ts"
import * as AskedSettings from "./AskedSettings.ts"
import type { Channel, ChannelClosed } from "./Channel.ts"
import * as Download from "./Download.ts"
import * as Peer from "./Peer.ts"
import { explain, OutOfStep, outOfStep, patiently, type Trouble } from "./Trouble.ts"
import { additions } from "./worker/AddToStore.ts"
import { buildings } from "./worker/Build.ts"
import { maintenance } from "./worker/Maintenance.ts"
import { queries } from "./worker/Query.ts"
import type { Failure, Handlers, Services, Worker } from "./worker/Worker.ts"

export type { Services } from "./worker/Worker.ts"

/** Free text, which `nix store info` shows; tools read the number that it begins with. */
export const nixVersion = "2.34.8 (drover 0.1.0)"

/** All but the one whose answer is a stream. */
type Answered = Exclude<Operations.Name, "NarFromPath">

const handlers: Handlers<Answered> = { ...queries, ...additions, ...buildings, ...maintenance }

/** Speaks until the client has nothing more to say. Answers the exit status. */
export const run = (channel: Channel): Effect.Effect<number, never, Services> =>
  Effect.gen(function* () {
    const worker = yield* greet(channel)
    while ((yield* channel.input.peek).length > 0) yield* serve(worker)
    return 0
  }).pipe(
    Effect.catchTags({
      // Nobody is there to be told.
      ChannelClosed: () => Effect.succeed(1),
      OutOfStep: () => Effect.succeed(1)
    })
  )

const greet = Effect.fnUntraced(function* (channel: Channel): Effect.fn.Return<Worker, OutOfStep | ChannelClosed> {
  const server = { version: Version.newest, features: Version.offered, nixVersion, trust: "trusted" } as const
  const version = yield* Handshake.accept(channel.input, channel.write, server).pipe(
    // Without an agreed version there is no layout in which to say it but the channel's stderr.
    Effect.catchTag("WireError", ({ message }) =>
      Effect.andThen(
        channel.writeError(new TextEncoder().encode(`drover: ${message}\n`)),
        Effect.fail(new OutOfStep({ sentence: null }))
      )
    )
  )
  const peer = Peer.make(channel)
  yield* peer.tell(Stderr.Message, Stderr.last, version)
  yield* peer.flush
  const limits = yield* Ref.make<Limits>({ timeoutSeconds: null, silenceSecondsMax: null, logBytesMax: null })
  const settings = yield* AskedSettings.of(channel)
  const requests = Request.make(channel.environment, "ssh-ng")
  return {
    account: channel.account,
    peer,
    version,
    closed: channel.closed,
    departure: channel.departure,
    limits,
    settings,
    requests
  }
})

/** One operation, whatever becomes of it. */
const serve = (worker: Worker): Effect.Effect<void, OutOfStep | ChannelClosed, Services> => {
  const tell = (sentence: string) =>
    Effect.andThen(worker.peer.tell(Stderr.Message, Stderr.failure(sentence), worker.version), worker.peer.flush)
  const answer = (trouble: Trouble) => Effect.flatMap(explain(trouble), tell)

  return Effect.scoped(perform(worker)).pipe(
    Effect.catchTags({
      Refusal: answer,
      StorageError: answer,
      WireError: answer,
      Told: () => Effect.void,
      OutOfStep: (error) =>
        Effect.andThen(error.sentence === null ? Effect.void : tell(error.sentence), Effect.fail(error))
    })
  )
}

const perform = Effect.fnUntraced(function* (worker: Worker): Effect.fn.Return<void, Failure, Services | Scope.Scope> {
  const { version } = worker
  const code = yield* read(worker, Operation.Code)
  const name = Operations.find(code)
  if (name === undefined) return yield* new OutOfStep({ sentence: `invalid operation ${code}` })
  if (name !== "NarFromPath") return yield* answer(worker, name)

  const { path } = yield* read(worker, Operations.operations.NarFromPath.request)
  const nar = yield* patiently(Download.open(worker.account.view, path))
  yield* worker.peer.tell(Stderr.Message, Stderr.last, version)
  yield* Download.tell(worker.peer, nar)
})

const answer = Effect.fnUntraced(function* <N extends Answered>(
  worker: Worker,
  name: N
): Effect.fn.Return<void, Failure, Services | Scope.Scope> {
  const { peer, version } = worker
  // An entry of the table by its name has the request and the response of that name.
  const operation = Operations.operations[name] as unknown as Operation.Operation<
    Operations.Request<N>,
    Operations.Response<N>
  >
  const request = yield* read(worker, operation.request)
  const handler: Handlers<Answered>[N] = handlers[name]
  const isUpload = operation.upload(version) !== "none"
  const response = yield* handler(worker, request).pipe(
    isUpload ? worker.requests.upload : name in queries ? patiently : identity
  )
  yield* peer.tell(Stderr.Message, Stderr.last, version)
  yield* peer.tell(operation.response, response, version)
  yield* peer.flush
})

/** A request that cannot be read is one whose end is not known. */
const read = <A>({ peer, version }: Worker, codec: Codec<A>) =>
  Effect.catchTag(peer.read(codec, version), "WireError", outOfStep)
