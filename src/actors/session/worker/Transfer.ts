/**
 * What a client uploads within an operation, however it travels.
 *
 * A stream that is refused in the middle is over for the client, and not yet for us. Frames are read on to their end
 * once the client has been told, and the connection is good for more: a client that is told at once stops sending.
 * Nothing ends a bare NAR but its own grammar, so with it the connection ends.
 */
import { Effect } from "effect"
import * as Framed from "../../../protocol/wire/Framed.ts"
import * as Pulled from "../../../protocol/wire/Pulled.ts"
import * as Source from "../../../protocol/wire/Source.ts"
import * as Stderr from "../../../protocol/wire/Stderr.ts"
import type * as Operation from "../../../protocol/worker/Operation.ts"
import type { WireError } from "../../../protocol/wire/Codec.ts"
import type { ChannelClosed } from "../Channel.ts"
import { explain, OutOfStep, outOfStep, Told, type Trouble } from "../Trouble.ts"
import type { Failure, Worker } from "./Worker.ts"

/** What an upload is read from. */
export type Uploaded = Source.Source<ChannelClosed | WireError>

type Read<A, R> = (source: Uploaded) => Effect.Effect<A, Trouble | ChannelClosed, R>

/** Reads the whole upload with `read`, which must leave nothing of it. */
export const receive = <A, R>(
  worker: Worker,
  operation: Pick<Operation.Operation<never, never>, "upload">,
  read: Read<A, R>
): Effect.Effect<A, Failure, R> => {
  const { peer } = worker
  switch (operation.upload(worker.version)) {
    case "framed":
      return framed(worker, read)
    case "pulled":
      return read(Pulled.source(peer.input, (bytes) => Effect.andThen(peer.tellBytes(bytes), peer.flush))).pipe(
        // Whether the string or the NAR in it was wrong is not known here.
        Effect.catchTag("WireError", outOfStep)
      )
    default:
      return read(peer.input).pipe(
        Effect.catchTags({ Refusal: outOfStep, StorageError: outOfStep, WireError: outOfStep })
      )
  }
}

const framed = <A, R>(worker: Worker, read: Read<A, R>): Effect.Effect<A, Told | OutOfStep | ChannelClosed, R> => {
  const { peer, version } = worker
  const source = Framed.source(peer.input)

  const giveUp = Effect.fnUntraced(function* (trouble: Trouble) {
    yield* peer.tell(Stderr.Message, Stderr.failure(yield* explain(trouble)), version)
    yield* peer.flush
    yield* Source.drain(source).pipe(Effect.catchTag("WireError", () => Effect.fail(new OutOfStep({ sentence: null }))))
    return yield* new Told()
  })

  return Effect.tap(read(source), () => Source.expectEnd(source)).pipe(
    Effect.catchTags({ Refusal: giveUp, StorageError: giveUp, WireError: giveUp })
  )
}
