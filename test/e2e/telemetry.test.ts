/** What an operator's collector and Prometheus hear of real builds, when all that was said is where the collector is. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import * as OtlpReceiver from "../support/OtlpReceiver.ts"
import { derivation, schemes, World } from "./World.ts"

const world = new World()
let receiver: OtlpReceiver.OtlpReceiver

beforeAll(async () => {
  receiver = await OtlpReceiver.open()
  await world.start({
    environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_BSP_SCHEDULE_DELAY: "100" }
  })
})
afterAll(async () => {
  await world.close()
  await receiver.close()
})

const spansOf = (name: string, drv: string) =>
  receiver.spans.filter((span) => span.name === name && span.attributes[Attributes.derivation] === drv)

/** By name, in order of time. */
const below = ({ spanId }: OtlpReceiver.Span, names: ReadonlyArray<string>) =>
  receiver.spans
    .filter(({ name, parentSpanId }) => parentSpanId === spanId && names.includes(name))
    .toSorted((a, b) => Number(a.startNanos - b.startNanos))

describe.each(schemes)("a build over %s", (scheme) => {
  it("is one trace, with its stages and their attempt, and another of the request, which is its client's", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c"
    const parent = scheme === "ssh" ? "b7ad6b7169203331" : "00f067aa0ba902b7"
    const client = await world.client(`${world.drover.sshConfig} -o SetEnv=TRACEPARENT=00-${traceId}-${parent}-01`)
    const made = derivation("traced", "echo traced > $out")
    const drv = await client.derivation(made)

    const { err, status } = await client.build(made, scheme)
    await receiver.until(() => spansOf("build", drv).length === 1 && spansOf("request", drv).length === 1)

    assert.strictEqual(status, 0, err)
    const [build] = spansOf("build", drv)
    const [request] = spansOf("request", drv)
    assert(build !== undefined && request !== undefined)
    assert.strictEqual(build.service, "drover")
    assert.strictEqual(build.parentSpanId, "")
    assert.strictEqual(build.attributes[Attributes.account], "default")
    assert.match(`${build.attributes[Attributes.system]}`, /-linux$/)
    assert.strictEqual(build.attributes[Attributes.outcome], "succeeded")
    assert.strictEqual(build.attributes[Attributes.attempts], "1")
    const stages = below(build, ["queue", "prepare", "run", "import"])
    assert.deepStrictEqual(
      stages.map(({ name }) => name),
      ["queue", "prepare", "run", "import"]
    )
    const [, ...attempts] = stages.map(({ attributes }) => attributes[Attributes.attempt])
    assert.match(`${attempts[0]}`, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    assert.lengthOf(new Set(attempts), 1)

    assert.strictEqual(request.traceId, traceId)
    assert.strictEqual(request.parentSpanId, parent)
    assert.strictEqual(request.attributes[Attributes.scheme], scheme)
    assert.strictEqual(request.attributes[Attributes.status], "Built")
    assert.strictEqual(request.attributes[Attributes.reuse], "none")
    assert.deepStrictEqual(
      below(request, ["upload", "closure", "wait", "grant"]).map(({ name }) => name),
      ["upload", "closure", "wait", "grant"]
    )
    assert.deepStrictEqual(request.links, [{ traceId: build.traceId, spanId: build.spanId }])
    assert.deepStrictEqual(build.links, [{ traceId: request.traceId, spanId: request.spanId }])
    assert.isTrue(request.startNanos <= build.startNanos && request.endNanos >= build.endNanos)
  })
})

it("what is counted of it can be read by Prometheus, each by its name", async () => {
  const client = await world.client()
  assert.strictEqual((await client.build(derivation("counted", "echo counted > $out"), "ssh-ng")).status, 0)

  const text = await (await fetch(`http://${world.drover.ready.http}/metrics`)).text()

  const shown = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
  // Builds here are in no machines, so none has started.
  assert.deepStrictEqual(
    Metrics.all.map(Metrics.prometheusName).filter((name) => !shown.has(name)),
    ["drover_machine_start_duration_seconds"]
  )
  assert.match(text, /^drover_build_duration_seconds_count\{drover_outcome="succeeded"\} [1-9]/m)
  assert.match(text, /^drover_nar_io_bytes_total\{network_io_direction="receive"\} [1-9]/m)
  assert.match(text, /^drover_host_cpu_limit\{drover_host="local"\} [1-9]/m)
})
