/** What a collector hears of a build, when the operator has said no more than where it is. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Logger, References } from "effect"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as Export from "../../src/telemetry/Export.ts"
import * as Tracing from "../../src/telemetry/Tracing.ts"
import * as OtlpReceiver from "../support/OtlpReceiver.ts"

const facts = {
  account: "default",
  derivation: "/nix/store/ffffffffffffffffffffffffffffffff-trivial.drv",
  system: "x86_64-linux"
}

/** A build whose first attempt was lost while it was prepared. */
const building = Effect.gen(function* () {
  const trace = yield* Tracing.build(facts)
  yield* Effect.gen(function* () {
    yield* Effect.void.pipe(Tracing.stage("queue", null))
    yield* Effect.fail("lost").pipe(Tracing.stage("prepare", "one"), Effect.ignore)
    yield* Effect.void.pipe(Tracing.stage("queue", null))
    yield* Effect.void.pipe(Tracing.stage("prepare", "two"))
    const statement = Effect.void.pipe(Effect.withSpan("postgres", { kind: "client" }))
    yield* Effect.log("the builder runs", { cores: 2 }).pipe(
      Effect.andThen(statement),
      Effect.withSpan("a query"),
      Tracing.stage("run", "two")
    )
    yield* Effect.void.pipe(Tracing.stage("import", "two"))
  }).pipe(trace.within)
  yield* trace.end("succeeded", 2)
}).pipe(Effect.scoped)

/** Runs a program as one that was started with this environment; everything is sent by its end. */
const runWith = <A>(environment: Record<string, string>, program: Effect.Effect<A>) =>
  program.pipe(
    Effect.provide(
      Export.layer.pipe(
        Layer.provide(Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env: environment })))
      )
    ),
    // What is logged is for the collector alone.
    Effect.provide(Logger.layer([]))
  )

const receiver = Effect.acquireRelease(
  Effect.promise(() => OtlpReceiver.open()),
  (receiver) => Effect.promise(() => receiver.close())
)

describe("telemetry", () => {
  for (const [protocol, contentType] of [
    [null, "application/x-protobuf"],
    ["http/json", "application/json"]
  ] as const) {
    it.live(`sends a whole build, as ${contentType}, when ${protocol ?? "the endpoint alone"} is set`, () =>
      Effect.gen(function* () {
        const { endpoint, logs, metrics, requests, spans } = yield* receiver

        yield* runWith(
          {
            OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
            ...(protocol === null ? {} : { OTEL_EXPORTER_OTLP_PROTOCOL: protocol })
          },
          building
        )

        const root = spans.find(({ name }) => name === "build")
        assert(root)
        assert.strictEqual(root.service, "drover")
        assert.strictEqual(root.parentSpanId, "")
        assert.deepStrictEqual(root.attributes, {
          [Attributes.account]: facts.account,
          [Attributes.derivation]: facts.derivation,
          [Attributes.system]: facts.system,
          [Attributes.outcome]: "succeeded",
          [Attributes.attempts]: "2"
        })
        const stages = spans
          .filter(({ parentSpanId }) => parentSpanId === root.spanId)
          .map(({ attributes, name }) => [name, attributes[Attributes.attempt] ?? null])
        assert.deepStrictEqual(stages, [
          ["queue", null],
          ["prepare", "one"],
          ["queue", null],
          ["prepare", "two"],
          ["run", "two"],
          ["import", "two"]
        ])
        // Of every build there are some twenty, and what asked them has said all but their words.
        assert.isFalse(spans.some(({ name }) => name === "postgres"))
        const query = spans.find(({ name }) => name === "a query")
        assert.strictEqual(query?.parentSpanId, spans.find(({ name }) => name === "run")?.spanId)
        assert.deepStrictEqual([...new Set(spans.map(({ traceId }) => traceId))], [root.traceId])
        assert(spans.every(({ endNanos, startNanos }) => startNanos >= root.startNanos && endNanos <= root.endNanos))
        assert.deepStrictEqual(
          logs
            .filter(({ body }) => body === "the builder runs")
            .map(({ attributes, traceId }) => [traceId, attributes["cores"], attributes[Attributes.traceId]]),
          [[root.traceId, "2", root.traceId]]
        )
        assert(metrics.has("drover.build.duration") && metrics.has("drover.build.stage.duration"))
        assert.deepStrictEqual([...new Set(requests.map(({ contentType }) => contentType))], [contentType])
      }).pipe(Effect.scoped)
    )
  }

  it.live("sends no trace of what is not part of a build", () =>
    Effect.gen(function* () {
      const { endpoint, spans } = yield* receiver

      const outside = Effect.void.pipe(Effect.withSpan("a session"))
      yield* runWith({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, Effect.andThen(outside, building))

      assert(spans.length > 0)
      assert.deepStrictEqual(
        spans.filter(({ name }) => name === "a session"),
        []
      )
    }).pipe(Effect.scoped)
  )

  it.live("leaves out a signal that the operator sends elsewhere, and takes the name that they give", () =>
    Effect.gen(function* () {
      const { endpoint, requests, spans } = yield* receiver

      yield* runWith(
        {
          OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
          OTEL_METRICS_EXPORTER: "none",
          OTEL_LOGS_EXPORTER: "",
          OTEL_RESOURCE_ATTRIBUTES: "service.name=farm,deployment.environment=test"
        },
        building
      )

      assert.deepStrictEqual([...new Set(requests.map(({ path }) => path))].sort(), ["/v1/logs", "/v1/traces"])
      assert.strictEqual(spans[0]?.service, "farm")
    }).pipe(Effect.scoped)
  )

  it.live("calls a build cancelled that ends without a word", () =>
    Effect.gen(function* () {
      const { endpoint, spans } = yield* receiver

      yield* runWith({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, Effect.asVoid(Effect.scoped(Tracing.build(facts))))

      assert.deepStrictEqual(
        spans.map(({ attributes }) => attributes[Attributes.outcome]),
        ["cancelled"]
      )
    }).pipe(Effect.scoped)
  )

  const silent = {
    "nothing is set": {},
    "the endpoint is empty": { OTEL_EXPORTER_OTLP_ENDPOINT: "" },
    "it is disabled": { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_SDK_DISABLED: "true" },
    "the endpoint makes no sense": { OTEL_EXPORTER_OTLP_ENDPOINT: "not a place" },
    "the protocol is one it does not speak": {
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc"
    }
  }
  for (const [why, environment] of Object.entries(silent)) {
    it.live(`makes no span when ${why}`, () =>
      runWith(
        environment,
        Effect.scoped(
          Effect.gen(function* () {
            assert.strictEqual(yield* References.TracerEnabled, false)
            const trace = yield* Tracing.build(facts)
            const within = yield* Effect.currentSpan.pipe(
              Effect.map((span) => span.sampled),
              trace.within,
              Effect.option
            )

            assert.strictEqual(within._tag, "None")
          })
        )
      )
    )
  }
})
