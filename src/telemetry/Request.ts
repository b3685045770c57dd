/**
 * The trace of what one client asks for, from its first upload to the answer.
 *
 * A client sends a build's inputs before it asks for the build, as operations of their own, so a connection remembers
 * when it last was sent something, and the request that follows begins there. That is one span whatever was sent: a
 * closure may come as thousands of operations.
 *
 * The client's own trace goes on in it, where the client has said which. A client that does not sample its trace gets
 * none here either; the build's own is made all the same.
 */
import { Clock, Context, Effect, Exit, Metric, Option, type Tracer } from "effect"
import * as Attributes from "./Attributes.ts"
import * as Metrics from "./Metrics.ts"
import * as TraceContext from "./TraceContext.ts"
import { type Asked, below, type BuildFacts, CurrentRequest, Exporting, factsOf } from "./Tracing.ts"

/** The requests of one connection, which come one after the other. */
export interface Requests {
  /** Runs an effect that takes paths from the client. */
  readonly upload: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Runs an effect that answers a request for a build. */
  readonly serve: (
    facts: BuildFacts
  ) => <A extends { readonly status: string }, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** A client that has paused for longer than this between upload and request had sent those paths for something else. */
const pauseMaxNanos = 10_000_000_000n

interface Uploaded {
  readonly startedAt: bigint
  readonly endedAt: bigint
  readonly operations: number
}

/** `scheme`: `ssh` or `ssh-ng`. */
export const make = (environment: ReadonlyMap<string, string>, scheme: string): Requests => {
  const caller = TraceContext.of(environment)
  let uploaded: Uploaded | null = null

  const takeUploaded = (now: bigint): Uploaded | null => {
    const taken = uploaded
    uploaded = null
    return taken !== null && now - taken.endedAt <= pauseMaxNanos ? taken : null
  }

  /** A span that began earlier, which Effect's own way of making one does not know. */
  const spanOf = Effect.fnUntraced(function* (
    name: string,
    startTime: bigint,
    parent: Tracer.AnySpan | null
  ): Effect.fn.Return<Tracer.Span> {
    const tracer = yield* Effect.tracer
    return tracer.span({
      name,
      parent: Option.fromNullishOr(parent),
      annotations: Context.empty(),
      links: [],
      startTime,
      kind: parent === null || parent._tag === "ExternalSpan" ? "server" : "internal",
      root: parent === null,
      sampled: parent?.sampled ?? true
    })
  })

  const begin = Effect.fnUntraced(function* (facts: BuildFacts, startedAt: bigint, upload: Uploaded | null) {
    const span = yield* spanOf("request", startedAt, caller?.span ?? null)
    for (const [name, value] of Object.entries(factsOf(facts))) span.attribute(name, value)
    span.attribute(Attributes.scheme, scheme)
    const state = caller?.state ?? null
    if (state !== null) span.attribute(Attributes.traceState, state)
    if (upload !== null) {
      const part = yield* spanOf("upload", upload.startedAt, span)
      part.attribute(Attributes.operations, upload.operations)
      part.end(upload.endedAt, Exit.void)
    }
    return span
  })

  const serve: Requests["serve"] = (facts) => (effect) =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const now = clock.currentTimeNanosUnsafe()
      const upload = takeUploaded(now)
      const startedAt = upload?.startedAt ?? now
      const span = (yield* Exporting) ? yield* begin(facts, startedAt, upload) : null
      const asked: Asked = { span, reuse: "none" }
      return yield* effect.pipe(
        span === null ? (effect) => effect : below(span),
        Effect.provideService(CurrentRequest, asked),
        Effect.onExit((exit) => {
          const status = Exit.isSuccess(exit) ? exit.value.status : "none"
          const reuse = status === "AlreadyValid" ? "already-valid" : asked.reuse
          const endedAt = clock.currentTimeNanosUnsafe()
          span?.attribute(Attributes.status, status)
          span?.attribute(Attributes.reuse, reuse)
          span?.end(endedAt, Exit.isSuccess(exit) ? Exit.void : exit)
          const duration = Metrics.of(Metrics.requestDuration, { [Attributes.reuse]: reuse })
          return Metric.update(duration, Number(endedAt - startedAt) / 1e9)
        }),
        Metrics.counted(Metrics.activeRequests)
      )
    })

  const upload: Requests["upload"] = (effect) =>
    Effect.clockWith((clock) => {
      const now = clock.currentTimeNanosUnsafe()
      const { operations, startedAt } = takeUploaded(now) ?? { operations: 0, startedAt: now }
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          uploaded = { startedAt, endedAt: clock.currentTimeNanosUnsafe(), operations: operations + 1 }
        })
      )
    })

  return { upload, serve }
}
