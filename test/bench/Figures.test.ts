/** How what was measured is summed up. */
import { assert, describe, it } from "@effect/vitest"
import { breakdown, comparison, ratio, summarise } from "../../bench/Figures.ts"

describe("figures", () => {
  it("have a median that ignores their order, and what lies far off", () => {
    assert.deepStrictEqual(summarise([3, 1, 900]), { median: 3, min: 1, max: 900 })
    assert.deepStrictEqual(summarise([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 })
    assert.isNull(summarise([]))
  })

  it("have a ratio below one when Drover is faster", () => {
    assert.strictEqual(ratio({ name: "build", drover: [1, 2, 3], stock: [4, 4, 9] }), 0.5)
    assert.isNull(ratio({ name: "build", drover: [1], stock: [] }))
  })

  it("stand in columns", () => {
    const text = comparison([{ name: "a long name of a row", drover: [0.5], stock: [12.25] }])

    const [head, row] = text.split("\n")
    assert.strictEqual(head, "seconds               drover      min–max  stock    min–max  ratio  rounds")
    assert.strictEqual(row, "a long name of a row   0.500  0.500–0.500   12.3  12.3–12.3   0.04       1")
  })

  it("say where there are none", () => {
    assert.include(breakdown(new Map([["queue", []]])), "queue")
    assert.include(comparison([{ name: "build", drover: [], stock: [] }]), "—")
  })
})
