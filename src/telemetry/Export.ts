/**
 * Sends traces, metrics and logs to whoever the operator names, by OpenTelemetry's own settings.
 *
 * `OTEL_EXPORTER_OTLP_ENDPOINT` alone is enough, as the specification has it: a signal is sent unless its exporter
 * is named otherwise (`OTEL_TRACES_EXPORTER=none`), as protobuf over HTTP unless `OTEL_EXPORTER_OTLP_PROTOCOL` says
 * `http/json`. Without an endpoint nothing is sent, no span is made and no exporter is even loaded: the specification
 * would send to this machine's port 4318 in that case, and who asked for nothing should get nothing.
 *
 * A setting that cannot be understood is told in the log and costs the telemetry, not the service.
 */
import { Config, ConfigProvider, Context, Effect, Layer, Logger, References, Tracer } from "effect"
import * as LogFormat from "./LogFormat.ts"
import { Exporting } from "./Tracing.ts"

const endpoints = ["", "TRACES_", "METRICS_", "LOGS_"].map((signal) => `OTEL_EXPORTER_OTLP_${signal}ENDPOINT`)

/** Without a name of the operator's choice, this service is called so. */
const serviceName = "drover"

/** A variable that is set to nothing counts as not set, says OpenTelemetry. */
const withoutEmpty = (provider: ConfigProvider.ConfigProvider) =>
  ConfigProvider.make((path) =>
    Effect.map(provider.load(path), (node) => (node?._tag === "Value" && node.value.trim() === "" ? undefined : node))
  )

const asked = Effect.gen(function* () {
  const disabled = yield* Config.Boolean("OTEL_SDK_DISABLED").pipe(Config.withDefault(false))
  const named = yield* Effect.forEach(endpoints, (name) => Config.option(Config.URL(name)))
  const protocol = yield* Config.Literals(["http/protobuf", "http/json"], "OTEL_EXPORTER_OTLP_PROTOCOL").pipe(
    Config.withDefault("http/protobuf")
  )
  const resource = yield* Config.String("OTEL_RESOURCE_ATTRIBUTES").pipe(Config.withDefault(""))
  return {
    exporting: !disabled && named.some((endpoint) => endpoint._tag === "Some"),
    protocol,
    // The package's own defaults are to send nothing and to refuse to run without a service name.
    defaults: ConfigProvider.fromUnknown({
      OTEL_TRACES_EXPORTER: "otlp",
      OTEL_METRICS_EXPORTER: "otlp",
      OTEL_LOGS_EXPORTER: "otlp",
      ...(/(^|,)\s*service\.name\s*=/.test(resource) ? {} : { OTEL_SERVICE_NAME: serviceName })
    })
  }
})

/** Spans are made in builds and requests for them alone, where `Tracing` turns them on again. */
const untraced = Layer.succeed(References.TracerEnabled, false)

/**
 * A tracer that leaves out single statements of SQL, the only spans of this kind: two in five of a build's spans, and
 * most of their bytes, since each has its whole text. What asked them has a span of its own, with the same times.
 */
const withoutStatements = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    context: tracer.context,
    span: (options) =>
      options.kind === "client" ? new Tracer.NativeSpan({ ...options, sampled: false }) : tracer.span(options)
  })

const exporters = (protocol: "http/protobuf" | "http/json") =>
  Layer.unwrap(
    Effect.gen(function* () {
      // Only now: who sends nothing does not wait for it to load either.
      const FetchHttpClient = yield* Effect.promise(() => import("effect/http/FetchHttpClient"))
      const OtlpLogger = yield* Effect.promise(() => import("effect/observability/OtlpLogger"))
      const OtlpMetrics = yield* Effect.promise(() => import("effect/observability/OtlpMetrics"))
      const OtlpSerialization = yield* Effect.promise(() => import("effect/observability/OtlpSerialization"))
      const OtlpTracer = yield* Effect.promise(() => import("effect/observability/OtlpTracer"))
      // Alone first, so that it can be told which logger it is.
      const logger = OtlpLogger.layerFromConfig().pipe(
        Layer.provideMerge(Layer.succeed(Logger.CurrentLoggers, new Set<never>())),
        Layer.flatMap((context) =>
          Logger.layer([...Context.get(context, Logger.CurrentLoggers)].map(LogFormat.apart), {
            mergeWithExisting: true
          })
        )
      )
      const tracer = Layer.effect(Tracer.Tracer, Effect.map(Effect.tracer, withoutStatements)).pipe(
        Layer.provide(OtlpTracer.layerFromConfig())
      )
      return Layer.mergeAll(logger, OtlpMetrics.layerFromConfig(), tracer).pipe(
        Layer.provide(protocol === "http/json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf),
        Layer.provide(FetchHttpClient.layer),
        Layer.merge(Layer.succeed(Exporting, true))
      )
    })
  )

/** To be put around all that is to be heard of: it brings the tracer and a logger beside those that there are. */
export const layer: Layer.Layer<never> = Layer.unwrap(
  Effect.gen(function* () {
    const provider = withoutEmpty(yield* ConfigProvider.ConfigProvider)
    const { defaults, exporting, protocol } = yield* asked.pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, provider)
    )
    if (!exporting) return untraced
    return exporters(protocol).pipe(
      Layer.provide(Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.orElse(provider, defaults))),
      Layer.merge(untraced)
    )
  })
).pipe(Layer.catchCause((cause) => Layer.unwrap(Effect.as(Effect.logWarning("telemetry is off", cause), untraced))))
