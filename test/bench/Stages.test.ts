/** Where a build's time goes, by its trace. */
import { assert, describe, it } from "@effect/vitest"
import { boot, breakDown, outside } from "../../bench/Stages.ts"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import type { Span } from "../support/OtlpReceiver.ts"

const span = (spanId: string, parentSpanId: string, name: string, start: number, end: number): Span => ({
  service: "drover",
  traceId: "t",
  spanId,
  parentSpanId,
  name,
  startNanos: BigInt(start * 1e6),
  endNanos: BigInt(end * 1e6),
  attributes: name === "build" ? { [Attributes.outcome]: "succeeded" } : {},
  links: []
})

describe("the stages of builds", () => {
  it("add up to what the client waited, attempts that were lost included", () => {
    const spans = [
      span("q1", "b", "queue", 100, 110),
      span("p1", "b", "prepare", 110, 130),
      span("q2", "b", "queue", 130, 135),
      span("p2", "b", "prepare", 135, 165),
      span("r", "b", "run", 165, 265),
      span("sql", "r", "sql.execute", 170, 180),
      span("i", "b", "import", 265, 300),
      span("b", "", "build", 90, 320),
      span("other", "", "build", 400, 500)
    ]

    const rows = breakDown(spans, [0.4])

    const milliseconds = [...rows].map(([name, values]) => [name, values.map((value) => Math.round(value * 1000))])
    assert.deepStrictEqual(milliseconds, [
      [outside, [170]],
      ["queue", [15]],
      ["prepare", [50]],
      ["run", [100]],
      ["import", [35]],
      ["rest of the build: identity, records, log", [30]]
    ])
  })

  it("tell how much of a machine's was its boot", () => {
    const spans = [span("b", "", "build", 0, 100), span("p", "b", "prepare", 10, 60), span("k", "p", "boot", 20, 60)]

    assert.deepStrictEqual(breakDown(spans, [0.1]).get(boot), [0.04])
  })
})
