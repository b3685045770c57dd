/**
 * Gauges of what nobody tells of when it changes: somebody has to look.
 *
 * One look gives the whole of a gauge, so a series that is not in it has become zero: what waits for memory, say, when
 * nothing does any more. A look that fails leaves everything as it was; the next may do better.
 */
import { Cause, type Duration, Effect, Layer, Metric, Schedule } from "effect"
import * as Metrics from "./Metrics.ts"

export interface Reading {
  readonly gauge: Metric.Gauge<number>
  /** With attributes that tell them apart, if there are several. */
  readonly values: ReadonlyArray<readonly [value: number, attributes?: Readonly<Record<string, string>>]>
}

const noAttributes = {}

/** Looks now, and again whenever so much time has passed since it last had. */
export const layer = <E, R>(
  every: Duration.Input,
  look: Effect.Effect<ReadonlyArray<Reading>, E, R>
): Layer.Layer<never, never, R> =>
  Layer.effectDiscard(
    Effect.suspend(() => {
      const seen = new Map<Metric.Gauge<number>, Map<string, Readonly<Record<string, string>>>>()
      const set = Effect.fnUntraced(function* ({ gauge, values }: Reading) {
        const before = seen.get(gauge) ?? new Map<string, Readonly<Record<string, string>>>()
        const now = new Map(before)
        for (const [value, attributes = noAttributes] of values) {
          const key = JSON.stringify(attributes)
          before.delete(key)
          now.set(key, attributes)
          yield* Metric.update(Metrics.of(gauge, attributes), value)
        }
        for (const attributes of before.values()) yield* Metric.update(Metrics.of(gauge, attributes), 0)
        seen.set(gauge, now)
      })
      return look.pipe(
        Effect.flatMap((readings) => Effect.forEach(readings, set, { discard: true })),
        Effect.catchCauseIf(
          (cause) => !Cause.hasInterruptsOnly(cause),
          (cause) => Effect.logDebug("gauges could not be read", cause)
        ),
        Effect.repeat(Schedule.spaced(every)),
        Effect.forkScoped
      )
    })
  )
