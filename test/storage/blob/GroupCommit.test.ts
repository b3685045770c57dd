import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import * as GroupCommit from "../../../src/storage/blob/GroupCommit.ts"

/** Rounds that wait to be let go, and say what was in each. */
const gated = Effect.fnUntraced(function* (itemsMax: number) {
  const rounds: Array<ReadonlyArray<number>> = []
  const begun = yield* Deferred.make<void>()
  const gate = yield* Deferred.make<void>()
  const { commit } = yield* GroupCommit.make<number, string>(
    Effect.fnUntraced(function* (items) {
      rounds.push(items)
      yield* Deferred.succeed(begun, void 0)
      yield* Deferred.await(gate)
      if (items.includes(13)) return yield* Effect.fail("unlucky")
    }),
    itemsMax
  )
  return { rounds, begun: Deferred.await(begun), open: Deferred.succeed(gate, void 0), commit }
})

const startAll = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) =>
  Effect.forEach(effects, (effect) => Effect.forkChild(effect, { startImmediately: true }))

describe("a group commit", () => {
  it.effect("takes all who come during a round into the next", () =>
    Effect.gen(function* () {
      const { begun, commit, open, rounds } = yield* gated(100)
      const first = yield* Effect.forkChild(commit([0]), { startImmediately: true })
      yield* begun

      const others = yield* startAll([commit([1]), commit([2, 3]), commit([4])])
      yield* open
      yield* Fiber.joinAll([first, ...others])

      assert.deepStrictEqual(rounds, [[0], [1, 2, 3, 4]])
    })
  )

  it.effect("bounds a round, but never divides what one has brought", () =>
    Effect.gen(function* () {
      const { begun, commit, open, rounds } = yield* gated(2)
      const first = yield* Effect.forkChild(commit([0]), { startImmediately: true })
      yield* begun

      const others = yield* startAll([commit([1]), commit([2, 3, 4]), commit([5])])
      yield* open
      yield* Fiber.joinAll([first, ...others])

      assert.deepStrictEqual(rounds, [[0], [1, 2, 3, 4], [5]])
    })
  )

  it.effect("fails for all who were in the round that failed, and for nobody else", () =>
    Effect.gen(function* () {
      const { begun, commit, open } = yield* gated(100)
      const first = yield* Effect.forkChild(commit([0]), { startImmediately: true })
      yield* begun

      const second = yield* startAll([commit([13]), commit([1])])
      yield* open

      assert.isTrue(Exit.isSuccess(yield* Fiber.await(first)))
      assert.deepStrictEqual(yield* Effect.forEach(second, Fiber.await), [Exit.fail("unlucky"), Exit.fail("unlucky")])
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(commit([2]))))
    })
  )

  it.effect("keeps a caller that gives up until its round is over", () =>
    Effect.gen(function* () {
      const { begun, commit, open, rounds } = yield* gated(100)
      const caller = yield* Effect.forkChild(commit([0]), { startImmediately: true })
      yield* begun

      const interruption = yield* Effect.forkChild(Fiber.interrupt(caller), { startImmediately: true })
      assert.isUndefined(caller.pollUnsafe())
      yield* open
      yield* Fiber.join(interruption)

      assert.deepStrictEqual(rounds, [[0]])
    })
  )
})
