import { assert, describe, it } from "@effect/vitest"
import * as Farm from "../../bench/Farm.ts"
import * as Graphs from "../../bench/Graphs.ts"

describe("the graphs of the bench", () => {
  it.each([
    ["recorded", Graphs.recorded(), 4617],
    ["layered", Graphs.layered(500, 50, 1), 500],
    ["tangled", Graphs.tangled(500, 1), 500],
    ["chained", Graphs.chained(3, 10, 100, 1), 130]
  ] as const)("have every build after its inputs: %s", (_, graph, size) => {
    const wrong = graph.filter(({ inputs }, build) => inputs.some((input) => !(input >= 0 && input < build)))

    assert.lengthOf(graph, size)
    assert.deepStrictEqual(wrong, [])
  })

  it("are the same for the same seed", () => {
    assert.deepStrictEqual(Graphs.tangled(50, 7), Graphs.tangled(50, 7))
    assert.notDeepEqual(Graphs.tangled(50, 7), Graphs.tangled(50, 8))
  })

  it("take no less time than their longest path, and no more than one after the other", () => {
    const graph = Graphs.tangled(300, 1)
    const paths = Farm.ranks(graph, (build) => graph[build]!.seconds)
    const rank = (build: number) => paths.rank(build)

    const span = Farm.makespan(Farm.hosts(2, 16, 4), { graph, paths, account: () => "a", rank })

    assert.isAtLeast(span, Math.max(...graph.map((_, build) => rank(build))))
    assert.isAtMost(
      span,
      graph.reduce((sum, { seconds }) => sum + seconds, 0)
    )
  })
})
