/**
 * One trace per build, and one per request for it.
 *
 *     request ─┬─ upload     from the first of its inputs to the last
 *      │       ├─ closure    what its inputs refer to, in the account's view
 *      │       ├─ identity   the hash by which it is known
 *      │       ├─ reuse      whether an answer is known
 *      │       ├─ wait       for the build, with its log
 *      │       └─ grant      the outputs enter the account's view
 *      ╎
 *     build ───┬─ queue      from the request for a lease until it is given
 *              ├─ prepare    from the lease until the builder runs
 *              │  └─ boot    of a virtual machine: from its first instruction until it has its job
 *              ├─ run        from the builder's first instruction to its end
 *              └─ import     outputs read, verified, scanned, registered
 *
 * A build may have any number of waiters, so each request is a trace of its own, or a part of its client's, and the two
 * know each other by links, in both directions. An attempt that is lost adds a second `queue`, `prepare` and `run`;
 * each names its attempt. Further spans, of queries say, hang below the one in which they were made. Outside of these
 * nothing is traced: a session may last for days and ask for 100,000 paths. Logs written within carry the trace id.
 *
 * A build that fails is an answer and not an error of this service, so its span ends well and says `failed` in an
 * attribute; a stage that was lost or given up ends as its effect did.
 */
import { Clock, Context, Effect, Exit, Metric, type Scope, Tracer } from "effect"
import * as Attributes from "./Attributes.ts"
import * as Metrics from "./Metrics.ts"

export type Stage = "queue" | "prepare" | "boot" | "run" | "import"

/** What a request goes through besides its build. */
export type Step = "closure" | "identity" | "reuse" | "wait" | "grant"

/** Whether spans go anywhere. Set by `Export`; without it, none are made. */
export const Exporting = Context.Reference<boolean>("drover/telemetry/Exporting", { defaultValue: () => false })

/** What answered a request: a build of its own, one under way, an earlier one's success or failure, or its own view. */
export type Reuse = "none" | "running" | "finished" | "failure" | "already-valid"

/** A request under way, as far as those who serve it have to say something of it. */
export interface Asked {
  readonly span: Tracer.Span | null
  reuse: Reuse
}

/** Set by `Request`. */
export const CurrentRequest = Context.Reference<Asked | null>("drover/telemetry/CurrentRequest", {
  defaultValue: () => null
})

export interface BuildFacts {
  /** Of the first who asked. */
  readonly account: string
  readonly derivation: string
  readonly system: string
}

export interface BuildTrace {
  /** Runs an effect as part of the build: what it traces and logs belongs to the build's trace. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The request within which this is run waits for the build. */
  readonly join: Effect.Effect<void>
  /** Ends the trace. What ends without having said how, is `cancelled`. Only the first word counts. */
  readonly end: (outcome: string, attempts: number) => Effect.Effect<void>
}

/** A span with a link to each of a thousand waiters is more than its receivers take. */
const linksMax = 128

export const factsOf = (facts: BuildFacts) => ({
  [Attributes.account]: facts.account,
  [Attributes.derivation]: facts.derivation,
  [Attributes.system]: facts.system
})

/** Runs an effect below a span: what it traces hangs there, and what it logs names the trace. */
export const below =
  (span: Tracer.Span) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    effect.pipe(
      Effect.annotateLogs(Attributes.traceId, span.traceId),
      Effect.provideService(Tracer.ParentSpan, span),
      Effect.withTracerEnabled(true)
    )

/** Begins the trace of a build, which ends at `end` or else with the scope. */
export const build = Effect.fnUntraced(function* (facts: BuildFacts): Effect.fn.Return<BuildTrace, never, Scope.Scope> {
  const exporting = yield* Exporting
  const clock = yield* Clock.Clock
  const startedAt = clock.currentTimeNanosUnsafe()
  // Without a receiver this is Effect's span that does nothing.
  const span = yield* Effect.makeSpan("build", { root: true, attributes: factsOf(facts) }).pipe(
    Effect.withTracerEnabled(exporting)
  )

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
      const duration = Metrics.of(Metrics.buildDuration, { [Attributes.outcome]: outcome })
      return Effect.andThen(
        Metric.modify(Metrics.activeBuilds, -1),
        Metric.update(duration, Number(endedAt - startedAt) / 1e9)
      )
    })
  yield* Effect.addFinalizer(() => end("cancelled", 0))

  const join = Effect.map(CurrentRequest, (asked) => {
    if (!exporting || asked === null || asked.span === null) return
    asked.span.addLinks([{ span, attributes: {} }])
    if (span.links.length < linksMax) span.addLinks([{ span: asked.span, attributes: {} }])
  })

  return { within: exporting ? below(span) : (effect) => effect, join, end }
})

/** Runs an effect as a stage of the build within which it is run, on whichever floor. */
export const stage =
  (name: Stage, attempt: string | null) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.clockWith((clock) => {
      const startedAt = clock.currentTimeNanosUnsafe()
      const duration = Metrics.of(Metrics.stageDuration, { [Attributes.stage]: name })
      const attributes = attempt === null ? {} : { [Attributes.attempt]: attempt }
      return Effect.ensuring(
        Effect.withSpan(effect, name, { attributes, captureStackTrace: false }),
        Effect.suspend(() => Metric.update(duration, Number(clock.currentTimeNanosUnsafe() - startedAt) / 1e9))
      )
    })

/** Runs an effect as the start of a machine, a stage of the build within which it is run. */
export const machineStart =
  (origin: "booted" | "restored", attempt: string | null) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.clockWith((clock) => {
      const startedAt = clock.currentTimeNanosUnsafe()
      const duration = Metrics.of(Metrics.machineStart, { [Attributes.machineOrigin]: origin })
      return Effect.annotateCurrentSpan(Attributes.machineOrigin, origin).pipe(
        Effect.andThen(effect),
        // One that has come to nothing says nothing of how long it takes.
        Effect.tap(() => Metric.update(duration, Number(clock.currentTimeNanosUnsafe() - startedAt) / 1e9)),
        stage("boot", attempt)
      )
    })

/** Counts an attempt that has ended. */
export const attemptEnded = (outcome: string): Effect.Effect<void> =>
  Metric.update(Metrics.of(Metrics.endedAttempts, { [Attributes.outcome]: outcome }), 1)

/** Runs an effect as a step of the request within which it is run. */
export const step =
  (name: Step) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.withSpan(effect, name, { captureStackTrace: false })

/** Says what answers the request within which this is run. */
export const reused = (reuse: Reuse): Effect.Effect<void> =>
  Effect.map(CurrentRequest, (asked) => {
    if (asked !== null) asked.reuse = reuse
  })
