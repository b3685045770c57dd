import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as Process from "../../src/telemetry/Process.ts"
import * as Sampling from "../../src/telemetry/Sampling.ts"

const waiting = (reason: string) =>
  Effect.map(Metric.value(Metrics.of(Metrics.waitingBuilds, { [Attributes.waitReason]: reason })), ({ value }) => value)

describe("a gauge that is looked at", () => {
  it.effect("shows what there was at the last look, and nothing of what is no more", () =>
    Effect.gen(function* () {
      let queue: Readonly<Record<string, number>> = { cores: 3, memory: 1 }
      let fails = false
      const look = Effect.suspend(() => {
        if (fails) return Effect.die("the books are closed")
        const values = Object.entries(queue).map(
          ([reason, count]) => [count, { [Attributes.waitReason]: reason }] as const
        )
        return Effect.succeed([{ gauge: Metrics.waitingBuilds, values }])
      })
      const seen = Effect.all([waiting("cores"), waiting("memory"), waiting("host")])

      yield* Layer.build(Sampling.layer("5 seconds", look))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* seen, [3, 1, 0])

      queue = { host: 2, cores: 1 }
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* seen, [3, 1, 0])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* seen, [1, 0, 2])

      fails = true
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* seen, [1, 0, 2])

      fails = false
      queue = {}
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* seen, [0, 0, 0])
    })
  )
})

it.live("the process tells how it is", () =>
  Effect.gen(function* () {
    yield* Layer.build(Process.layer)
    yield* Effect.yieldNow

    assert.isAbove((yield* Metric.value(Metrics.processMemory)).value, 10_000_000)
    assert.isAbove((yield* Metric.value(Metrics.of(Metrics.processTime, { [Attributes.cpuMode]: "user" }))).count, 0)
    assert.isAtLeast((yield* Metric.value(Metrics.loopDelayMedian)).value, 0)
  })
)
