/**
 * Work that costs the same for many as for one: whoever comes while a round is under way goes with the next.
 *
 * A round is of everything that waits, up to a bound. It is not ended by a caller that gives up, since others are in
 * it; and it either succeeds for all that are in it or fails for all. When the scope closes, who waits has a last round,
 * and who comes later is turned away: nobody waits for a round that will not be.
 */
import { Deferred, Effect, Exit, Queue, type Scope } from "effect"

export interface GroupCommit<A, E> {
  /** Returns when a round that held all of them has succeeded. */
  readonly commit: (items: ReadonlyArray<A>) => Effect.Effect<void, E>
}

interface Waiting<A, E> {
  readonly items: ReadonlyArray<A>
  readonly done: Deferred.Deferred<void, E>
}

/** `itemsMax`: a round takes no more callers once it holds so many items; one caller's are never divided. */
export const make = Effect.fnUntraced(function* <A, E>(
  round: (items: ReadonlyArray<A>) => Effect.Effect<void, E>,
  itemsMax: number
): Effect.fn.Return<GroupCommit<A, E>, never, Scope.Scope> {
  const queue = yield* Queue.unbounded<Waiting<A, E>>()

  /** Those who wait behind the first, as many as go with it. */
  const companions = (first: Waiting<A, E>): ReadonlyArray<Waiting<A, E>> => {
    const group = [first]
    for (let count = first.items.length; count < itemsMax;) {
      const next = Queue.takeUnsafe(queue)
      if (next === undefined || Exit.isFailure(next)) break
      group.push(next.value)
      count += next.value.items.length
    }
    return group
  }

  yield* Queue.take(queue).pipe(
    Effect.flatMap((first) => {
      const group = companions(first)
      return Effect.map(Effect.exit(round(group.flatMap(({ items }) => items))), (exit) => {
        for (const { done } of group) Deferred.doneUnsafe(done, exit)
      })
    }),
    Effect.forever,
    // Half a round helps nobody, and whoever was taken out of the queue would wait for ever. Its end is the queue's.
    Effect.uninterruptible,
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() => Queue.interrupt(queue))

  return {
    // Whoever waits owns what the round works on, and must not take it away.
    commit: Effect.fnUntraced(function* (items) {
      const done = yield* Deferred.make<void, E>()
      if (!(yield* Queue.offer(queue, { items, done }))) return yield* Effect.interrupt
      yield* Deferred.await(done)
    }, Effect.uninterruptible)
  }
})
