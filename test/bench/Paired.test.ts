import { assert, describe, it } from "@effect/vitest"
import * as Paired from "../../bench/Paired.ts"

describe("a paired difference", () => {
  it("is of pairs, so that what both have in common does not count", () => {
    const base = [10, 200, 35, 80]
    const more = base.map((value, index) => value + [1, 2, 3, 2][index]!)

    const { from, mean, to } = Paired.difference(more, base)

    // By hand: a standard deviation of 0.816, and 3.182 for three degrees of freedom.
    assert.strictEqual(mean, 2)
    assert.closeTo(to - mean, 3.182 * (0.816497 / 2), 1e-5)
    assert.closeTo(mean - from, to - mean, 1e-9)
  })

  it("needs two", () => {
    assert.throws(() => Paired.difference([1], [2]), /expected pairs, found 1 and 1/)
    assert.throws(() => Paired.difference([1, 2], [2]), /expected pairs, found 2 and 1/)
  })

  it("is no surer than what is known of so many", () => {
    const spread = (count: number) => {
      const values = Array.from({ length: count }, (_, index) => index % 2)
      const { from, to } = Paired.difference(
        values,
        values.map(() => 0)
      )
      return to - from
    }

    assert.isAbove(spread(4), spread(12))
    assert.isAbove(spread(12), spread(200))
  })
})
