/** The server's own process, as Node sees it: its event loop, its memory, its processor time. */
import { Effect, Layer, Metric } from "effect"
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import * as Attributes from "./Attributes.ts"
import * as Metrics from "./Metrics.ts"
import * as Sampling from "./Sampling.ts"

/** The timer by which delays are measured: fifty times a second costs nothing that can be measured. */
const timerMilliseconds = 20

/** What is measured is the time between two timers, which without any delay is this. */
const delayOf = (nanoseconds: number): number =>
  Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e9 - timerMilliseconds / 1e3) : 0

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const delays = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const histogram = monitorEventLoopDelay({ resolution: timerMilliseconds })
        histogram.enable()
        return histogram
      }),
      (histogram) => Effect.sync(() => histogram.disable())
    )
    // A count that begins with its first event hides it: nothing was there to grow from.
    yield* Metric.update(Metrics.restarts, 0)
    let loop = performance.eventLoopUtilization()
    let cpu = { user: 0, system: 0 }

    const look = Effect.gen(function* () {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, loop)
      loop = now
      const spent = process.cpuUsage()
      for (const mode of ["user", "system"] as const) {
        const time = Metrics.of(Metrics.processTime, { [Attributes.cpuMode]: mode })
        yield* Metric.update(time, (spent[mode] - cpu[mode]) / 1e6)
      }
      cpu = spent
      const readings: ReadonlyArray<Sampling.Reading> = [
        { gauge: Metrics.loopDelayMedian, values: [[delayOf(delays.percentile(50))]] },
        { gauge: Metrics.loopDelayUpper, values: [[delayOf(delays.percentile(99))]] },
        { gauge: Metrics.loopDelayMax, values: [[delayOf(delays.max)]] },
        { gauge: Metrics.loopUtilization, values: [[utilization]] },
        { gauge: Metrics.processMemory, values: [[process.memoryUsage.rss()]] }
      ]
      delays.reset()
      return readings
    })
    return Sampling.layer("5 seconds", look)
  })
)
