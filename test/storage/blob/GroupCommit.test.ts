import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Scope } from "effect"
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

  it.effect("has a last round for those who wait when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { begun, commit, open, rounds } = yield* Scope.provide(gated(2), scope)
      const first = yield* Effect.forkChild(commit([0]), { startImmediately: true })
      yield* begun

      const others = yield* startAll([commit([1, 2]), commit([3])])
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* open
      yield* Fiber.joinAll([first, ...others, closing])

      assert.deepStrictEqual(rounds, [[0], [1, 2], [3]])
    })
  )

  it.effect("loses nobody who comes just as its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { commit, open, rounds } = yield* Scope.provide(gated(100), scope)
      yield* open
      // Its taker waits already.
      yield* Effect.yieldNow
      const caller = yield* Effect.forkChild(commit([0]), { startImmediately: true })

      yield* Scope.close(scope, Exit.void)

      assert.isTrue(Exit.isSuccess(yield* Fiber.await(caller)))
      assert.deepStrictEqual(rounds, [[0]])
    })
  )

  it.effect("turns away whoever comes after its end", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { commit, rounds } = yield* Scope.provide(gated(100), scope)
      yield* Scope.close(scope, Exit.void)

      const exit = yield* Effect.exit(commit([0]))

      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.deepStrictEqual(rounds, [])
    })
  )
})
