/** Spans of time, as options say them. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Span from "../../src/domain/Span.ts"

describe("a span of time", () => {
  it.each([
    ["0", 0],
    ["0s", 0],
    ["90s", 90],
    ["10m", 600],
    ["2h", 7200]
  ])("is read from %j", (text, seconds) => {
    assert.strictEqual(Span.parse(text), seconds)
  })

  it.each(["", "10", "m", "-1s", "1.5h", "01s", "1d", "1 m", "9999999s"])("is not read from %j", (text) => {
    assert.isNull(Span.parse(text))
  })

  it.prop(
    "is read as it was printed",
    [Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999_999 }))],
    ([span]) => {
      assert.strictEqual(Span.parse(Span.print(span)), span)
    }
  )

  it("is printed in the largest unit that says it whole", () => {
    assert.deepStrictEqual([0, 59, 60, 90, 3600, 5400].map(Span.print), ["0s", "59s", "1m", "90s", "1h", "90m"])
  })
})
