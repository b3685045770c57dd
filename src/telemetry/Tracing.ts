/**
 * One trace per build.
 *
 *     build ─┬─ queue      from the request for a lease until it is given
 *            ├─ prepare    from the lease until the builder runs
 *            │  └─ boot    of a virtual machine: from its first instruction until it has its job
 *            ├─ run        from the builder's first instruction to its end
 *            └─ import     outputs read, verified, scanned, registered
 *
 * An attempt that is lost adds a second `queue`, `prepare` and `run`; each names its attempt. Further spans, of
 * queries say, hang below the stage in which they were made. Outside a build nothing is traced: a session may last
 * for days and ask for 100,000 paths. Logs written within a build carry its trace id.
 *
 * A build that fails is an answer and not an error of this service, so its span ends well and says `failed` in an
 * attribute; a stage that was lost or given up ends as its effect did.
 */
import { Clock, Context, Effect, Exit, Metric, type Scope, Tracer } from "effect"
import * as Attributes from "./Attributes.ts"
import * as Metrics from "./Metrics.ts"

export type Stage = "queue" | "prepare" | "boot" | "run" | "import"

/** Whether spans go anywhere. Set by `Export`; without it, none are made. */
export const Exporting = Context.Reference<boolean>("drover/telemetry/Exporting", { defaultValue: () => false })

export interface BuildFacts {
  /** Of the first who asked. */
  readonly account: string
  readonly derivation: string
  readonly system: string
}

export interface BuildTrace {
  /** Runs an effect as part of the build: what it traces and logs belongs to the build's trace. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Ends the trace. What ends without having said how, is `cancelled`. Only the first word counts. */
  readonly end: (outcome: string, attempts: number) => Effect.Effect<void>
}

/** Begins the trace of a build, which ends at `end` or else with the scope. */
export const build = Effect.fnUntraced(function* (facts: BuildFacts): Effect.fn.Return<BuildTrace, never, Scope.Scope> {
  const exporting = yield* Exporting
  const clock = yield* Clock.Clock
  const startedAt = clock.currentTimeNanosUnsafe()
  // Without a receiver this is Effect's span that does nothing.
  const span = yield* Effect.makeSpan("build", {
    root: true,
    kind: "server",
    attributes: {
      [Attributes.account]: facts.account,
      [Attributes.derivation]: facts.derivation,
      [Attributes.system]: facts.system
    }
  }).pipe(Effect.withTracerEnabled(exporting))

  yield* Metric.modify(Metrics.activeBuilds, 1)
  let ended = false
  const end = (outcome: string, attempts: number) =>
    Effect.suspend(() => {
      if (ended) return Effect.void
      ended = true
      span.attribute(Attributes.outcome, outcome)
      span.attribute(Attributes.attempts, attempts)
      const endedAt = clock.currentTimeNanosUnsafe()
      span.end(endedAt, Exit.void)
      // Not by system or account: those are a client's words, and every new one would be a series kept for good.
      const duration = Metric.withAttributes(Metrics.buildDuration, { [Attributes.outcome]: outcome })
      return Effect.andThen(
        Metric.modify(Metrics.activeBuilds, -1),
        Metric.update(duration, Number(endedAt - startedAt) / 1e9)
      )
    })
  yield* Effect.addFinalizer(() => end("cancelled", 0))

  const within = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    exporting
      ? effect.pipe(
          Effect.annotateLogs(Attributes.traceId, span.traceId),
          Effect.provideService(Tracer.ParentSpan, span),
          Effect.withTracerEnabled(true)
        )
      : effect

  return { within, end }
})

/** Runs an effect as a stage of the build within which it is run, on whichever floor. */
export const stage =
  (name: Stage, attempt: string | null) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.clockWith((clock) => {
      const startedAt = clock.currentTimeNanosUnsafe()
      const duration = Metric.withAttributes(Metrics.stageDuration, { [Attributes.stage]: name })
      const attributes = attempt === null ? {} : { [Attributes.attempt]: attempt }
      return Effect.ensuring(
        Effect.withSpan(effect, name, { attributes, captureStackTrace: false }),
        Effect.suspend(() => Metric.update(duration, Number(clock.currentTimeNanosUnsafe() - startedAt) / 1e9))
      )
    })
