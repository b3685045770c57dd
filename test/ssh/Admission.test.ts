import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Admission from "../../src/ssh/Admission.ts"

const limits = { totalMax: 5, perNetworkMax: 3 }

describe("admission", () => {
  it("sends the oldest of a network away for its newest", () => {
    const gone: Array<string> = []
    const { enter } = Admission.make(limits)

    for (const name of ["a", "b", "c", "d", "e"]) enter("10.0.0.1", () => gone.push(name))
    enter("10.0.0.2", () => gone.push("other"))

    assert.deepStrictEqual(gone, ["a", "b"])
  })

  it("sends the oldest of all away when there are too many", () => {
    const gone: Array<string> = []
    const { enter } = Admission.make(limits)

    for (const host of [1, 2, 3, 4, 5, 6]) enter(`10.0.0.${host}`, () => gone.push(`${host}`))

    assert.deepStrictEqual(gone, ["1"])
  })

  it("no longer counts who has authenticated or gone", () => {
    const gone: Array<number> = []
    const { enter } = Admission.make(limits)

    for (const index of [1, 2, 3, 4, 5, 6, 7]) {
      const leave = enter("10.0.0.1", () => gone.push(index))
      leave()
      leave()
    }

    assert.deepStrictEqual(gone, [])
  })

  it("counts an IPv6 network as one, and IPv4 as itself whatever it is called", () => {
    assert.strictEqual(Admission.networkOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64")
    assert.strictEqual(Admission.networkOf("2001:db8:1:2::9"), "2001:db8:1:2::/64")
    assert.strictEqual(Admission.networkOf("2001:0db8:0001:2::"), "2001:db8:1:2::/64")
    assert.strictEqual(Admission.networkOf("fe80::1%eth0"), "fe80:0:0:0::/64")
    assert.strictEqual(Admission.networkOf("::1"), "0:0:0:0::/64")
    assert.strictEqual(Admission.networkOf("::ffff:10.0.0.1"), "10.0.0.1")
    assert.strictEqual(Admission.networkOf("10.0.0.1"), "10.0.0.1")
  })

  const step = Schema.Struct({ host: Schema.Literals([1, 2, 3]), leaves: Schema.Boolean })
  it.prop(
    "never holds more than its bounds, and evicts nobody twice",
    [Schema.Array(step)],
    ([steps]) => {
      const inside = new Map<number, number>()
      const { enter } = Admission.make(limits)
      steps.forEach(({ host, leaves }, index) => {
        const leave = enter(`10.0.0.${host}`, () => assert.isTrue(inside.delete(index)))
        inside.set(index, host)
        if (leaves) {
          leave()
          inside.delete(index)
        }
        assert.isAtMost(inside.size, limits.totalMax)
        for (const each of [1, 2, 3]) {
          assert.isAtMost([...inside.values()].filter((other) => other === each).length, limits.perNetworkMax)
        }
      })
    },
    { arbitrary: { runs: 200 } }
  )
})
