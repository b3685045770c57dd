import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Pace from "../../../src/actors/quota/Pace.ts"

/** Milliseconds that the payments take on a virtual clock, made one after another by so many at once. */
const timeOf = Effect.fnUntraced(function* (pace: Pace.Pace, payments: ReadonlyArray<number>, payers: number) {
  const before = yield* Clock.currentTimeMillis
  const fiber = yield* Effect.forkChild(
    Effect.forEach(Array.from({ length: payers }), () => Effect.forEach(payments, pace.pay, { discard: true }), {
      concurrency: "unbounded",
      discard: true
    }).pipe(Effect.andThen(Clock.currentTimeMillis))
  )
  yield* TestClock.adjust("1 hour")
  return (yield* Fiber.join(fiber)) - before
})

describe("a pace", () => {
  it.effect("lets a second's worth go at once, and the rest at its rate", () =>
    Effect.gen(function* () {
      const pace = Pace.make(() => 1000)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* timeOf(pace, [1000], 1), 0)
      assert.strictEqual(
        yield* timeOf(
          Pace.make(() => 1000),
          Array<number>(50).fill(100),
          1
        ),
        4000
      )
    })
  )

  it.effect("is one for all who share it", () =>
    Effect.gen(function* () {
      const pace = Pace.make(() => 1000)
      assert.strictEqual(yield* timeOf(pace, Array<number>(10).fill(100), 5), 4000)
    })
  )

  it.effect("makes nobody wait where there is none", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* timeOf(
          Pace.make(() => null),
          [2 ** 50, 2 ** 50],
          3
        ),
        0
      )
    })
  )

  it.effect("takes another rate as soon as it is told", () =>
    Effect.gen(function* () {
      let rate: number | null = 1
      const pace = Pace.make(() => rate)
      const fiber = yield* Effect.forkChild(Effect.andThen(pace.pay(10), pace.pay(1e9)))
      rate = null
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
    })
  )

  it.effect("makes nobody wait for what a clock was set back by", () =>
    Effect.gen(function* () {
      const pace = Pace.make(() => 1000)
      yield* TestClock.setTime(7_200_000)
      yield* pace.pay(1)
      yield* TestClock.setTime(3_600_000)
      assert.strictEqual(yield* timeOf(pace, [999, 1000], 1), 1000)
    })
  )
})
