import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { CriticalPath, type Step } from "../../src/domain/CriticalPath.ts"

const step = (key: string, seconds: number, ...inputs: ReadonlyArray<string>): Step<string> => ({
  key,
  inputs,
  seconds
})

const of = (...steps: ReadonlyArray<Step<string>>) => {
  const graph = new CriticalPath<string>()
  assert.isNotNull(graph.add(steps))
  return graph
}
const ranks = (graph: CriticalPath<string>, keys: string) => keys.split("").map((key) => graph.rank(key))

describe("a critical path", () => {
  it("is a build's own time, and the longest way of those that wait for it", () => {
    const graph = of(step("d", 1, "b", "c"), step("b", 5, "a"), step("c", 2, "a"), step("a", 10))

    assert.deepStrictEqual(ranks(graph, "abcd"), [16, 6, 3, 1])
    assert.sameMembers([...graph.dependents("a")], ["b", "c"])
  })

  it("goes with what is learned of a build, and says whose it was", () => {
    const graph = of(step("a", 10), step("b", 5, "a"), step("c", 2, "a"), step("d", 1, "b", "c"), step("e", 1))

    assert.sameMembers([...graph.estimate("c", 7)], ["c", "a"])
    assert.deepStrictEqual(ranks(graph, "abcde"), [18, 6, 8, 1, 1])
    assert.sameMembers([...graph.estimate("c", 1)], ["c", "a"])
    assert.deepStrictEqual(ranks(graph, "abcde"), [16, 6, 2, 1, 1])
    assert.deepStrictEqual([...graph.estimate("c", 2)], ["c"])
    assert.deepStrictEqual([...graph.estimate("c", 2)], [])
  })

  it("goes on when more is to be built of what is known", () => {
    const graph = of(step("a", 10), step("b", 5, "a"))

    assert.deepStrictEqual(graph.add([step("d", 3, "c"), step("c", 4, "b", "not here")]), ["b", "a"])
    assert.deepStrictEqual(ranks(graph, "abcd"), [22, 12, 7, 3])
  })

  it("is not to be had of builds that wait for each other", () => {
    const graph = of(step("a", 1))

    assert.isNull(graph.add([step("b", 1, "a", "c"), step("c", 1, "b")]))
    assert.strictEqual(graph.size, 1)
  })

  const told = Schema.Array(
    Schema.Struct({
      inputs: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))),
      seconds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
      changed: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })),
      to: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 }))
    })
  )

  it.prop(
    "is, after whatever was learned, what it would be had it been known from the start",
    [told],
    ([told]) => {
      const steps = told.map(({ inputs, seconds }, key) => ({
        key,
        seconds,
        inputs: inputs.filter((input) => input < key)
      }))
      const half = steps.length >> 1
      const graph = new CriticalPath<number>()
      graph.add(steps.slice(0, half).toReversed())
      graph.add(steps.slice(half))
      for (const { changed, to } of told) {
        const step = steps[changed]
        if (step === undefined) continue
        const before = steps.map(({ key }) => graph.rank(key))
        const moved = graph.estimate(changed, to)
        step.seconds = to

        // By definition, from the last to the first: inputs come before what is built of them.
        const expected: Array<number> = []
        for (const { key, seconds } of steps.toReversed()) {
          const dependents = steps.filter(({ inputs }) => inputs.includes(key))
          expected[key] = seconds + Math.max(0, ...dependents.map(({ key }) => expected[key]!))
        }
        assert.deepStrictEqual(
          steps.map(({ key }) => graph.rank(key)),
          expected
        )
        assert.sameMembers(
          [...moved],
          steps.map(({ key }) => key).filter((key) => before[key] !== expected[key])
        )
      }
    },
    { arbitrary: { runs: 200, size: 40 } }
  )
})
