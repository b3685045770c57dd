/**
 * How many bytes of NARs each view holds: added up from the tables when a view is first asked of, and from then on
 * with every addition, so that asking costs nothing however much there is.
 *
 * What is added while the tables are added up may be counted twice, never left out. Nothing here is the only truth:
 * the next start adds up anew.
 */
import { Deferred, Effect, Exit } from "effect"
import type { ViewId } from "../../domain/View.ts"

export interface StoredBytes<E> {
  readonly added: (view: ViewId, bytes: number) => void
  readonly of: (view: ViewId) => Effect.Effect<number, E>
}

export const make = <E>(addUp: (view: ViewId) => Effect.Effect<number, E>): StoredBytes<E> => {
  const counts = new Map<ViewId, { readonly base: Deferred.Deferred<number, E>; added: number }>()

  const of = Effect.fnUntraced(function* (view: ViewId) {
    const known = counts.get(view)
    if (known !== undefined) return (yield* Deferred.await(known.base)) + known.added
    const count = { base: Deferred.makeUnsafe<number, E>(), added: 0 }
    counts.set(view, count)
    const exit = yield* Effect.exit(addUp(view))
    // Whoever asks next, tries again.
    if (Exit.isFailure(exit)) counts.delete(view)
    yield* Deferred.done(count.base, exit)
    return (yield* exit) + count.added
  }, Effect.uninterruptible)

  return {
    of,
    added: (view, bytes) => {
      const count = counts.get(view)
      if (count !== undefined) count.added += bytes
    }
  }
}
