/**
 * Every metric in the text form that Prometheus reads, under the names that OpenTelemetry's own collector would give
 * them: so a dashboard does not have to know by which way they came.
 */
import type { Effect } from "effect"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Metrics from "./Metrics.ts"

export const contentType = "text/plain; version=0.0.4; charset=utf-8"

const names = new Map(Metrics.all.map((declaration) => [declaration.name, Metrics.prometheusName(declaration)]))

export const format: Effect.Effect<string> = PrometheusMetrics.format({
  metricNameMapper: (name) => names.get(name) ?? name
})
