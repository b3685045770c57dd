/** The trace of a request: whose it is, where it begins, and how it and the build that answers it know each other. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Metric, Option, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as Request from "../../src/telemetry/Request.ts"
import * as Tracing from "../../src/telemetry/Tracing.ts"

const facts = { account: "default", derivation: "/nix/store/ffffffffffffffffffffffffffffffff-a.drv", system: "s" }
const none: ReadonlyMap<string, string> = new Map()
const caller = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" }
const callerSays = (flags: string, more: ReadonlyArray<[string, string]> = []) =>
  new Map([["TRACEPARENT", `00-${caller.traceId}-${caller.spanId}-${flags}`], ...more])

/** Keeps every span that was made, in order. */
const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const run = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(
      Effect.withTracer(tracer),
      Effect.withTracerEnabled(false),
      Effect.provideService(Tracing.Exporting, true),
      Effect.scoped
    )
  const one = (name: string) => {
    const found = spans.filter((span) => span.name === name)
    assert.lengthOf(found, 1, name)
    return found[0]!
  }
  return { spans, run, one }
}

const timesOf = ({ status }: Tracer.NativeSpan) => {
  assert(status._tag === "Ended")
  return [Number(status.startTime / 1_000_000n), Number(status.endTime / 1_000_000n)]
}

const built = { status: "Built" }

describe("the trace of a request", () => {
  it.effect("begins with what was sent for it, and ends with the answer", () =>
    Effect.gen(function* () {
      const { one, run } = recording()
      const requests = Request.make(none, "ssh-ng")
      const sent = requests.upload(TestClock.adjust("10 millis"))

      yield* run(
        Effect.gen(function* () {
          yield* TestClock.adjust("1 second")
          yield* sent
          yield* TestClock.adjust("5 millis")
          yield* sent
          yield* TestClock.adjust("5 millis")
          const waited = TestClock.adjust("100 millis").pipe(Tracing.step("wait"), Effect.as(built))
          assert.strictEqual(yield* waited.pipe(requests.serve(facts)), built)
        })
      )

      assert.deepStrictEqual(timesOf(one("request")), [1000, 1130])
      assert.deepStrictEqual(timesOf(one("upload")), [1000, 1025])
      assert.deepStrictEqual(timesOf(one("wait")), [1030, 1130])
      assert.strictEqual(one("upload").attributes.get(Attributes.operations), 2)
      assert.deepStrictEqual(Object.fromEntries(one("request").attributes), {
        [Attributes.account]: "default",
        [Attributes.derivation]: facts.derivation,
        [Attributes.system]: "s",
        [Attributes.scheme]: "ssh-ng",
        [Attributes.status]: "Built",
        [Attributes.reuse]: "none"
      })
      for (const name of ["upload", "wait"]) {
        const parent = Option.getOrUndefined(one(name).parent)
        assert.strictEqual(parent?.spanId, one("request").spanId)
      }
    })
  )

  it.effect("does not begin with what was sent long before, or for an earlier request", () =>
    Effect.gen(function* () {
      const { run, spans } = recording()
      const requests = Request.make(none, "ssh")
      const request = Effect.succeed(built).pipe(requests.serve(facts))

      yield* run(
        Effect.gen(function* () {
          yield* requests.upload(Effect.void)
          yield* TestClock.adjust("11 seconds")
          yield* request
          yield* requests.upload(Effect.void)
          yield* request
          yield* request
        })
      )

      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["request", "request", "upload", "request"]
      )
    })
  )

  it.effect("goes on with the client's own", () =>
    Effect.gen(function* () {
      const { one, run } = recording()
      const requests = Request.make(callerSays("01", [["TRACESTATE", "vendor=1"]]), "ssh")

      yield* run(Effect.succeed(built).pipe(requests.serve(facts)))

      assert.strictEqual(one("request").traceId, caller.traceId)
      assert.strictEqual(Option.getOrUndefined(one("request").parent)?.spanId, caller.spanId)
      assert.strictEqual(one("request").kind, "server")
      assert.strictEqual(one("request").attributes.get(Attributes.traceState), "vendor=1")
    })
  )

  it.effect("is not sampled where the client's is not, while the build's own is", () =>
    Effect.gen(function* () {
      const { one, run } = recording()
      const requests = Request.make(callerSays("00"), "ssh")

      yield* run(
        Effect.gen(function* () {
          const build = yield* Tracing.build(facts)
          yield* Effect.as(build.join, built).pipe(requests.serve(facts))
        })
      )

      assert.isFalse(one("request").sampled)
      assert.isTrue(one("build").sampled)
      assert.notStrictEqual(one("build").traceId, caller.traceId)
    })
  )

  it.effect("and that of the build that several wait for point to each other", () =>
    Effect.gen(function* () {
      const { one, run, spans } = recording()

      yield* run(
        Effect.gen(function* () {
          const build = yield* Tracing.build(facts)
          for (const scheme of ["ssh", "ssh-ng"]) {
            const asked = Effect.andThen(build.join, Effect.as(Tracing.reused("running"), built))
            yield* asked.pipe(Request.make(none, scheme).serve(facts))
          }
          yield* build.end("succeeded", 1)
        })
      )

      const requests = spans.filter(({ name }) => name === "request")
      assert.lengthOf(requests, 2)
      assert.lengthOf(new Set(spans.map(({ traceId }) => traceId)), 3)
      assert.deepStrictEqual(
        one("build").links.map(({ span }) => span.spanId),
        requests.map(({ spanId }) => spanId)
      )
      for (const request of requests) {
        assert.deepStrictEqual(
          request.links.map(({ span }) => span.spanId),
          [one("build").spanId]
        )
        assert.strictEqual(request.attributes.get(Attributes.reuse), "running")
      }
    })
  )

  it.effect("of each of very many points to the build, which points to so many of them", () =>
    Effect.gen(function* () {
      const { one, run, spans } = recording()

      yield* run(
        Effect.gen(function* () {
          const build = yield* Tracing.build(facts)
          const asked = Effect.as(build.join, built).pipe(Request.make(none, "ssh").serve(facts))
          yield* Effect.replicateEffect(asked, 1000, { discard: true })
        })
      )

      assert.strictEqual(one("build").links.length, 128)
      assert.isTrue(spans.filter(({ name }) => name === "request").every(({ links }) => links.length === 1))
    })
  )

  it.effect("says what became of one that nobody waited to hear", () =>
    Effect.gen(function* () {
      const { one, run } = recording()

      yield* run(Effect.exit(Effect.interrupt.pipe(Effect.as(built), Request.make(none, "ssh").serve(facts))))

      const { attributes, status } = one("request")
      assert.strictEqual(attributes.get(Attributes.status), "none")
      assert(status._tag === "Ended" && status.exit._tag === "Failure")
    })
  )

  it.effect("is named by what is logged while it is served", () =>
    Effect.gen(function* () {
      const { one, run } = recording()
      const said: Array<unknown> = []
      const logger = Logger.make(({ fiber }) => void said.push(fiber.cache.span?.traceId))

      yield* run(
        Effect.log("served").pipe(
          Effect.as(built),
          Request.make(none, "ssh").serve(facts),
          Effect.provide(Logger.layer([logger]))
        )
      )

      assert.deepStrictEqual(said, [one("request").traceId])
    })
  )
})

describe("a request that nobody traces", () => {
  it.effect("is counted, and has no span", () =>
    Effect.gen(function* () {
      const { run, spans } = recording()
      const requests = Request.make(callerSays("01"), "ssh")
      const seen = Metrics.of(Metrics.requestDuration, { [Attributes.reuse]: "already-valid" })
      const before = yield* Metric.value(seen)

      const active = yield* run(
        Effect.gen(function* () {
          yield* requests.upload(TestClock.adjust("1 second"))
          const served = Effect.map(Metric.value(Metrics.activeRequests), ({ value }) => ({
            status: "AlreadyValid",
            value
          }))
          return yield* served.pipe(requests.serve(facts))
        }).pipe(Effect.provideService(Tracing.Exporting, false))
      )

      const after = yield* Metric.value(seen)
      assert.deepStrictEqual(spans, [])
      assert.strictEqual(active.value, 1)
      assert.strictEqual((yield* Metric.value(Metrics.activeRequests)).value, 0)
      assert.strictEqual(after.count - before.count, 1)
      assert.strictEqual(after.sum - before.sum, 1)
    })
  )
})
