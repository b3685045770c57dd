/** By the rules of W3C, whose own examples these are where it has them. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as TraceContext from "../../src/telemetry/TraceContext.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

const of = (traceparent: string, tracestate?: string) =>
  TraceContext.of(
    new Map([["TRACEPARENT", traceparent], ...(tracestate === undefined ? [] : [["TRACESTATE", tracestate] as const])])
  )

const stateOf = (tracestate: string) => of(`00-${traceId}-${spanId}-01`, tracestate)?.state

describe("a client's trace", () => {
  it("is followed, sampled or not", () => {
    for (const [flags, sampled] of [
      ["01", true],
      ["00", false],
      ["03", true],
      ["fe", false]
    ] as const) {
      const caller = of(`00-${traceId}-${spanId}-${flags}`)
      assert.strictEqual(caller?.span.traceId, traceId)
      assert.strictEqual(caller?.span.spanId, spanId)
      assert.strictEqual(caller?.span.sampled, sampled)
    }
    assert.strictEqual(TraceContext.of(new Map()), null)
  })

  it("is followed by what a later version says in the same words", () => {
    assert.strictEqual(of(`cc-${traceId}-${spanId}-01`)?.span.traceId, traceId)
    assert.strictEqual(of(`cc-${traceId}-${spanId}-01-what-the-future-will-be-like`)?.span.traceId, traceId)
  })

  it.each([
    "",
    "01",
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-01-more`,
    `cc-${traceId}-${spanId}-01.more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId}-${spanId}-1`,
    ` 00-${traceId}-${spanId}-01`,
    `00-${traceId}-${spanId}-01\n`,
    `00-${traceId}x-${spanId}-01`
  ])("is not followed by %j", (traceparent) => {
    assert.strictEqual(of(traceparent, "a=1"), null)
  })

  it("keeps a state as it came", () => {
    const state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert.strictEqual(stateOf(state), state)
    assert.strictEqual(stateOf(" a=1 ,\t, b= 2"), "a=1,b= 2")
    assert.strictEqual(stateOf("fw529a3039@dt=FfUgAAoAAQ"), "fw529a3039@dt=FfUgAAoAAQ")
    assert.strictEqual(stateOf("a-_*/0=x"), "a-_*/0=x")
    const most = Array.from({ length: 32 }, (_, index) => `k${index}=v`).join(",")
    assert.strictEqual(stateOf(most), most)
  })

  it.each([
    "",
    ",",
    "a",
    "a=",
    "=1",
    "A=1",
    "0=1",
    "a=1,a=2",
    "a=1=2",
    "a=b\u00e9",
    "a=b\u0007",
    "a@b@c=1",
    Array.from({ length: 33 }, (_, index) => `k${index}=v`).join(","),
    `a=${"x".repeat(257)}`,
    `a=${"x".repeat(250)},b=${"x".repeat(250)},c=${"x".repeat(250)}`
  ])("has no state for %j, and is followed all the same", (state) => {
    const caller = of(`00-${traceId}-${spanId}-01`, state)
    assert.strictEqual(caller?.span.traceId, traceId)
    assert.strictEqual(caller?.state, null)
  })

  it.prop("is no more than it may be, whatever is said", [Schema.String, Schema.String], ([word, more]) => {
    for (const state of [word, `a=${word}`, `a=1,${word}=${more}`]) {
      const kept = stateOf(state) ?? "kept=nothing"
      assert.match(kept, /^[\x20-\x7e]{1,512}$/)
      assert.strictEqual(stateOf(kept), kept)
    }
    for (const parent of [word, `cc-${traceId}-${spanId}-01-${word}`, `00-${traceId}-${spanId}-${word}`]) {
      const caller = of(parent, more)
      if (caller !== null) assert.strictEqual(caller.span.traceId, traceId)
    }
  })
})
