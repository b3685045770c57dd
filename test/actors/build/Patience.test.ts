import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Patience from "../../../src/actors/build/Patience.ts"

const none = { timeoutSeconds: null, silenceSecondsMax: null, logBytesMax: null }
const progress = { startedAt: 10_000, heardAt: 14_000, logBytes: 100 }

describe("a waiter's patience", () => {
  it("ends with the time allowed, counted from the start", () => {
    const limits = { ...none, timeoutSeconds: 5 }
    assert.isNumber(Patience.look(limits, progress, 14_999))
    assert.deepStrictEqual(Patience.look(limits, progress, 15_000), { limit: "time", amount: 5 })
  })

  it("ends with the silence allowed, counted from the last word", () => {
    const limits = { ...none, silenceSecondsMax: 3 }
    assert.isNumber(Patience.look(limits, progress, 16_999))
    assert.deepStrictEqual(Patience.look(limits, progress, 17_000), { limit: "silence", amount: 3 })
  })

  it("ends with a log that is too long", () => {
    assert.isNumber(Patience.look({ ...none, logBytesMax: 100 }, progress, 14_000))
    assert.deepStrictEqual(Patience.look({ ...none, logBytesMax: 99 }, progress, 14_000), { limit: "log", amount: 99 })
  })

  it("does not run out in the queue", () => {
    const waiting = { ...progress, startedAt: null }
    assert.isNumber(Patience.look({ timeoutSeconds: 1, silenceSecondsMax: 1, logBytesMax: 1 }, waiting, 1_000_000))
  })

  it.effect("is watched by the clock, and begins anew with every word", () =>
    Effect.gen(function* () {
      let heardAt = 0
      const limits = { ...none, silenceSecondsMax: 10 }
      const reached = yield* Patience.watch(
        limits,
        Effect.sync(() => ({ startedAt: 0, heardAt, logBytes: 0 }))
      )
      yield* TestClock.adjust("9 seconds")
      heardAt = 9000
      yield* TestClock.adjust("9 seconds")
      assert.isFalse(yield* Deferred.isDone(reached))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Deferred.await(reached), { limit: "silence", amount: 10 })
    })
  )
})
