/**
 * A path's contents on their way to a client: the stored bytes, as they come from the disk.
 *
 * A NAR has no length before it and nothing to break it off with, so whatever can go wrong beforehand is found out
 * beforehand. What goes wrong later can only end the connection.
 */
import { Effect, Metric, Option, type Scope } from "effect"
import type { ViewId } from "../../domain/View.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import type { Source } from "../../protocol/wire/Source.ts"
import { NarStore } from "../../storage/NarStore.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Attributes from "../../telemetry/Attributes.ts"
import * as Metrics from "../../telemetry/Metrics.ts"
import type { ChannelClosed } from "./Channel.ts"
import type { Peer } from "./Peer.ts"
import { explain, notValid, OutOfStep, type Refusal } from "./Trouble.ts"

/** The NAR of a path that the view holds, of which the first bytes have been read. */
export const open = Effect.fnUntraced(function* (
  view: ViewId,
  path: StorePath
): Effect.fn.Return<Source<StorageError>, Refusal | StorageError, NarStore | ViewRepository | Scope.Scope> {
  const views = yield* ViewRepository
  const nars = yield* NarStore
  const found = yield* views.find(view, path)
  if (Option.isNone(found)) return yield* notValid(path)
  const nar = yield* nars.open(found.value.narHash)
  yield* nar.peek
  return nar
})

const transmitted = Metrics.of(Metrics.transferred, { [Attributes.ioDirection]: "transmit" })

/** All of it. */
export const tell = (peer: Peer, nar: Source<StorageError>): Effect.Effect<void, ChannelClosed | OutOfStep> =>
  Effect.gen(function* () {
    for (;;) {
      const chunk = yield* nar.peek
      if (chunk.length === 0) return yield* peer.flush
      yield* peer.tellBytes(chunk)
      yield* Metric.update(transmitted, chunk.length)
      nar.advance(chunk.length)
    }
  }).pipe(
    Effect.catchTag("StorageError", (trouble) =>
      Effect.flatMap(explain(trouble), () => Effect.fail(new OutOfStep({ sentence: null })))
    )
  )
