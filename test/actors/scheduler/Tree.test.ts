import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Tree from "../../../src/actors/scheduler/Tree.ts"

interface Value {
  readonly key: number
  readonly measure: number
}
const order: Tree.Order<Value> = { compare: (a, b) => a.key - b.key, measure: ({ measure }) => measure }

const told = Schema.Array(
  Schema.Struct({
    key: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 })),
    measure: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
    removed: Schema.Boolean
  })
)

/** The tree, and what it ought to hold. */
const grown = (told: ReadonlyArray<Value & { readonly removed: boolean }>) => {
  let tree: Tree.Tree<Value> = null
  const model = new Map<number, Value>()
  for (const { key, measure, removed } of told) {
    const value = { key, measure }
    tree = removed ? Tree.remove(order, tree, value) : Tree.insert(order, tree, value)
    if (removed) model.delete(key)
    else model.set(key, value)
  }
  return { tree, sorted: [...model.values()].sort(order.compare) }
}

const depth = (tree: Tree.Tree<Value>): number =>
  tree === null ? 0 : 1 + Math.max(depth(tree.left), depth(tree.right))

describe("a tree", () => {
  const runs = { arbitrary: { runs: 200, size: 80 } }

  it.prop(
    "holds what was put into it and not taken out, in order",
    [told],
    ([told]) => {
      const { sorted, tree } = grown(told)
      assert.deepStrictEqual([...Tree.values(tree)], sorted)
      assert.strictEqual(Tree.size(tree), sorted.length)
      assert.strictEqual(Tree.last(tree), sorted.at(-1) ?? null)
    },
    runs
  )

  it.prop(
    "finds the first that is small enough, from anywhere, and says how many come before",
    [told],
    ([told]) => {
      const { sorted, tree } = grown(told)
      for (let limit = -1; limit < 10; limit++) {
        const small = sorted.filter(({ measure }) => measure <= limit)
        assert.strictEqual(Tree.firstWithin(order, tree, limit), small[0] ?? null)
        for (const from of [0, 7, 31, 60]) {
          assert.strictEqual(
            Tree.firstFrom(order, tree, ({ key }) => key >= from, limit),
            small.find(({ key }) => key >= from) ?? null
          )
        }
      }
      for (const key of [-1, 20, 61]) {
        const before = sorted.filter((value) => value.key < key).length
        assert.strictEqual(Tree.countBefore(order, tree, { key, measure: 0 }), before)
      }
      assert.strictEqual(Tree.least(tree), Math.min(Infinity, ...sorted.map(({ measure }) => measure)))
    },
    runs
  )

  it("stays shallow, in whichever order it is filled and emptied", () => {
    let tree: Tree.Tree<Value> = null
    for (let key = 0; key < 10_000; key++) tree = Tree.insert(order, tree, { key, measure: key })
    assert.isAtMost(depth(tree), 24)

    for (let key = 0; key < 9_000; key++) tree = Tree.remove(order, tree, { key, measure: key })
    assert.strictEqual(Tree.size(tree), 1000)
    assert.isAtMost(depth(tree), 18)
  })

  it("leaves the tree that it came of as it was", () => {
    const before = grown([1, 2, 3, 4, 5].map((key) => ({ key, measure: 1, removed: false }))).tree

    Tree.remove(order, Tree.insert(order, before, { key: 6, measure: 1 }), { key: 3, measure: 1 })

    assert.deepStrictEqual(
      [...Tree.values(before)].map(({ key }) => key),
      [1, 2, 3, 4, 5]
    )
  })
})
