/** What an operator's collector hears of a real build, when all that was said is where the collector is. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as OtlpReceiver from "../support/OtlpReceiver.ts"
import { derivation, schemes, World } from "./World.ts"

const world = new World()
let receiver: OtlpReceiver.OtlpReceiver

beforeAll(async () => {
  receiver = await OtlpReceiver.open()
  await world.start({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint } })
})
afterAll(async () => {
  await world.close()
  await receiver.close()
})

describe.each(schemes)("a build over %s", (scheme) => {
  it("is one trace, with its stages and their attempt", async () => {
    const client = await world.client()
    const made = derivation("traced", "echo traced > $out")
    const drv = await client.derivation(made)
    const rootOf = () => receiver.spans.find(({ attributes }) => attributes[Attributes.derivation] === drv)

    const { err, status } = await client.build(made, scheme)
    await receiver.until(() => rootOf() !== undefined)

    assert.strictEqual(status, 0, err)
    const root = rootOf()
    assert(root !== undefined)
    assert.strictEqual(root.name, "build")
    assert.strictEqual(root.service, "drover")
    assert.strictEqual(root.parentSpanId, "")
    assert.strictEqual(root.attributes[Attributes.account], "default")
    assert.match(`${root.attributes[Attributes.system]}`, /-linux$/)
    assert.strictEqual(root.attributes[Attributes.outcome], "succeeded")
    assert.strictEqual(root.attributes[Attributes.attempts], "1")

    const spans = receiver.spans.filter(({ traceId }) => traceId === root.traceId)
    const stages = spans
      .filter(({ parentSpanId }) => parentSpanId === root.spanId)
      .filter(({ name }) => ["queue", "prepare", "run", "import"].includes(name))
      .toSorted((a, b) => Number(a.startNanos - b.startNanos))
    assert.deepStrictEqual(
      stages.map(({ name }) => name),
      ["queue", "prepare", "run", "import"]
    )
    const [, ...attempts] = stages.map(({ attributes }) => attributes[Attributes.attempt])
    assert.match(`${attempts[0]}`, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    assert.lengthOf(new Set(attempts), 1)
  })
})
