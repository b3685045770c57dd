/** What is promised of every metric, and what others say of them: the manual, dashboards, alerts. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Metric } from "effect"
import * as fs from "node:fs"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as Prometheus from "../../src/telemetry/Prometheus.ts"
import * as metricsDocument from "../support/metricsDocument.ts"

describe("metrics", () => {
  it("have names, units and attributes as OpenTelemetry has them, each name once", () => {
    const names = Metrics.all.map(({ name }) => name)
    const attributes = new Set<string>(Object.values(Attributes))

    assert.deepStrictEqual(names, [...new Set(names)])
    for (const { by, kind, name, tells, unit } of Metrics.all) {
      assert.match(name, /^(drover|process|nodejs)(\.[a-z][a-z0-9]*)+$/)
      assert.match(unit, /^(s|By|1|\{[a-z]+\})$/)
      assert.match(tells, /^[A-Z]/)
      assert.isAtMost(by.length, 1, `${name} has more series than its attributes have values`)
      for (const attribute of by) assert.isTrue(attributes.has(attribute), attribute)
      // A count that grows is told by its name from one that does not, wherever the two stand side by side.
      assert.isFalse(kind !== "counter" && Metrics.prometheusName({ by, kind, name, tells, unit }).endsWith("_total"))
    }
  })

  it("are told apart by nothing that a client could make up", () => {
    const made = new Set<string>([
      Attributes.account,
      Attributes.derivation,
      Attributes.system,
      Attributes.attempt,
      Attributes.traceState
    ])

    assert.deepStrictEqual(
      Metrics.all.filter(({ by }) => by.some((attribute) => made.has(attribute))),
      []
    )
  })

  it("are in the manual as they are in the program", () => {
    const text = fs.readFileSync(metricsDocument.file, "utf8")

    assert.strictEqual(text, metricsDocument.renewed(text), "node test/support/metricsDocument.ts")
  })

  it.effect("are read by Prometheus under the names of the manual", () =>
    Effect.gen(function* () {
      yield* Metric.update(Metrics.of(Metrics.endedAttempts, { [Attributes.outcome]: 'l"o\\s\nt' }), 2)
      yield* Metric.update(Metrics.of(Metrics.requestDuration, { [Attributes.reuse]: "none" }), 0.2)
      yield* Metric.update(Metrics.loopUtilization, 0.5)

      const lines = (yield* Prometheus.format).split("\n")

      for (const expected of [
        "# TYPE drover_build_attempts_total counter",
        'drover_build_attempts_total{drover_outcome="l\\"o\\\\s\\nt"} 2',
        "# TYPE drover_request_duration_seconds histogram",
        'drover_request_duration_seconds_bucket{drover_reuse="none",le="0.1"} 0',
        'drover_request_duration_seconds_bucket{drover_reuse="none",le="0.25"} 1',
        'drover_request_duration_seconds_bucket{drover_reuse="none",le="+Inf"} 1',
        'drover_request_duration_seconds_count{drover_reuse="none"} 1',
        "nodejs_eventloop_utilization_ratio 0.5"
      ]) {
        assert.include(lines, expected)
      }
    }).pipe(Effect.provideContext(Context.make(Metric.MetricRegistry, new Map())))
  )
})

/** Every name that a query could be asking for, with what a histogram makes of its own. */
const known = new Map(
  Metrics.all.flatMap((declaration) => {
    const name = Metrics.prometheusName(declaration)
    const names = declaration.kind === "histogram" ? ["_bucket", "_count", "_sum"].map((end) => name + end) : [name]
    return names.map((each) => [each, declaration] as const)
  })
)

const labels = new Set(Object.values(Attributes).map((name) => name.replaceAll(".", "_")))

/** What stands for itself in a query, and is neither a metric nor a label of ours. */
const words = new Set(
  (
    "by without sum max min avg rate increase histogram_quantile label_replace clamp_min clamp_max on or and unless " +
    "bool le instance job up time vector topk delta predict_linear quantile avg_over_time max_over_time ignoring " +
    "group_left drover"
  )
    .split(" ")
    .concat("__rate_interval", "__range", "datasource")
)

const check = (query: string): ReadonlyArray<string> => {
  const bare = query.replace(/"(?:[^"\\]|\\.)*"/g, "").replace(/\[[^\]]*\]/g, "")
  return [...bare.matchAll(/[a-zA-Z_][a-zA-Z0-9_]*/g)]
    .map(([word]) => word)
    .filter((word) => !words.has(word) && !known.has(word) && !labels.has(word) && !/^[0-9]*[smhd]$/.test(word))
}

describe("what is deployed beside the service", () => {
  const dashboard = JSON.parse(fs.readFileSync("deploy/grafana/drover.json", "utf8")) as {
    readonly panels: ReadonlyArray<{
      readonly title: string
      readonly type: string
      readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
      readonly targets?: ReadonlyArray<{ readonly expr: string; readonly refId: string }>
    }>
  }
  const alerts = fs.readFileSync("deploy/prometheus/alerts.yaml", "utf8")
  const queriesOfAlerts = [...alerts.matchAll(/^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)/gm)].map(
    ([, block, line]) => block ?? line ?? ""
  )
  const queries = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

  it("names no metric and no attribute that there is not", () => {
    assert.isAbove(queries.length, 20)
    assert.isAbove(queriesOfAlerts.length, 8)
    assert.lengthOf(queriesOfAlerts, alerts.split("\n").filter((line) => line.trim().startsWith("- alert:")).length)
    for (const query of [...queries, ...queriesOfAlerts]) assert.deepStrictEqual(check(query), [], query)
  })

  it("asks of each metric what its kind can answer", () => {
    for (const query of [...queries, ...queriesOfAlerts]) {
      for (const [name, { kind }] of known) {
        if (!new RegExp(`\\b${name}\\b`).test(query)) continue
        const isRated = new RegExp(`\\b(rate|increase)\\(${name}\\b`).test(query)
        assert.strictEqual(isRated, kind !== "gauge", `${name} in ${query}`)
      }
    }
  })

  it("shows every metric", () => {
    const shown = queries.join("\n")

    assert.deepStrictEqual(
      Metrics.all.map(Metrics.prometheusName).filter((name) => !shown.includes(name)),
      []
    )
  })

  it("has room for every panel", () => {
    for (const [index, one] of dashboard.panels.entries()) {
      for (const other of dashboard.panels.slice(index + 1)) {
        const [a, b] = [one.gridPos, other.gridPos]
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        assert.isTrue(apart, `${one.title} lies on ${other.title}`)
        assert.isAtMost(a.x + a.w, 24)
      }
    }
  })
})
