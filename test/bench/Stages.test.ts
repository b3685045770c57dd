/** Where a build's time goes, by its trace and that of its request. */
import { assert, describe, it } from "@effect/vitest"
import { boot, breakDown, buildsOf, outside } from "../../bench/Stages.ts"
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
  links: name === "build" ? [{ traceId: "r", spanId: "r" }] : []
})

const rounded = (rows: ReadonlyMap<string, ReadonlyArray<number>>) =>
  [...rows].map(([name, values]) => [name, ...values.map((value) => Math.round(value * 1000))])

const build = [
  span("q1", "b", "queue", 100, 110),
  span("p1", "b", "prepare", 110, 130),
  span("q2", "b", "queue", 130, 135),
  span("p2", "b", "prepare", 135, 165),
  span("r1", "b", "run", 165, 265),
  span("call", "r1", "LogStore.append", 170, 180),
  span("i", "b", "import", 265, 300),
  span("b", "", "build", 90, 320)
]

describe("the stages of builds", () => {
  it("add up to what the client waited, attempts that were lost included", () => {
    const spans = [
      span("u", "r", "upload", 40, 50),
      span("c", "r", "closure", 60, 64),
      span("n", "r", "identity", 64, 65),
      span("s", "r", "reuse", 65, 70),
      ...build,
      span("w", "r", "wait", 80, 325),
      span("g", "r", "grant", 325, 345),
      span("r", "", "request", 40, 350),
      span("other", "", "build", 400, 500)
    ]

    const rows = rounded(breakDown(spans, buildsOf(spans).slice(0, 1), [0.4]))

    assert.deepStrictEqual(rows, [
      [outside, 90],
      ["upload", 10],
      ["closure", 4],
      ["identity", 1],
      ["reuse", 5],
      ["queue", 15],
      ["prepare", 50],
      ["run", 100],
      ["import", 35],
      ["rest of the build: records, log", 30],
      ["grant", 20],
      ["rest of the request: records, the answer", 40]
    ])
    assert.strictEqual(
      rows.reduce((sum, [, value]) => sum + Number(value), 0),
      400
    )
  })

  it("of a build whose request is not known are its own", () => {
    const rows = new Map(rounded(breakDown(build, buildsOf(build), [0.4])).map(([name, value]) => [name, value]))

    assert.strictEqual(rows.get(outside), 170)
    assert.strictEqual(rows.get("grant"), 0)
  })

  it("tell how much of a machine's was its boot", () => {
    const spans = [span("b", "", "build", 0, 100), span("p", "b", "prepare", 10, 60), span("k", "p", "boot", 20, 60)]

    assert.deepStrictEqual(breakDown(spans, buildsOf(spans), [0.1]).get(boot), [0.04])
  })
})
