/** Traces as Jaeger's UI reads them. */
import { assert, describe, it } from "@effect/vitest"
import * as Jaeger from "../../bench/Jaeger.ts"
import type { Span } from "../support/OtlpReceiver.ts"

const span = (name: string, traceId: string, parentSpanId: string, links: Span["links"] = []): Span => ({
  service: "drover",
  traceId,
  spanId: name,
  parentSpanId,
  name,
  startNanos: 5_000_000n,
  endNanos: 7_500_999n,
  attributes: { "drover.account": "a" },
  links
})

const spans = [
  span("build", "b", "", [{ traceId: "r", spanId: "request" }]),
  span("prepare", "b", "build"),
  span("sandbox", "b", "prepare"),
  span("boot", "b", "sandbox"),
  span("request", "r", "elsewhere", [{ traceId: "b", spanId: "build" }])
]

describe("a file for Jaeger", () => {
  it("has each trace with its spans, whose they are, and what they point to", () => {
    const { data } = Jaeger.document(spans)

    assert.deepStrictEqual(
      data.map(({ spans, traceID }) => [traceID, ...spans.map(({ operationName }) => operationName)]),
      [
        ["b", "build", "prepare", "sandbox", "boot"],
        ["r", "request"]
      ]
    )
    const [build, prepare] = data[0]!.spans
    assert.deepStrictEqual(build?.references, [{ refType: "FOLLOWS_FROM", traceID: "r", spanID: "request" }])
    assert.deepStrictEqual(prepare?.references, [{ refType: "CHILD_OF", traceID: "b", spanID: "build" }])
    assert.deepStrictEqual([prepare?.startTime, prepare?.duration], [5000, 2500])
    assert.deepStrictEqual(prepare?.tags, [{ key: "drover.account", type: "string", value: "a" }])
    assert.strictEqual(data[0]!.processes.p1.serviceName, "drover")
  })

  it("does not name a parent that it does not have", () => {
    assert.deepStrictEqual(Jaeger.document(spans).data[1]?.spans[0]?.references, [
      { refType: "FOLLOWS_FROM", traceID: "b", spanID: "build" }
    ])
  })

  it("can leave spans out, and has what is below them below what is left", () => {
    const kept = Jaeger.only(spans, new Set(["build", "prepare", "boot"]))

    assert.deepStrictEqual(
      kept.map(({ name, parentSpanId }) => [name, parentSpanId]),
      [
        ["build", ""],
        ["prepare", "build"],
        ["boot", "prepare"]
      ]
    )
  })
})
