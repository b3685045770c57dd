import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Life from "../../../src/sandbox/microvm/Life.ts"

// The keys of the table are its stages.
const stages = Object.keys(Life.table) as ReadonlyArray<Life.Stage>
const Stage = Schema.Literals(stages)

const at = (stage: Life.Stage): Life.Life => ({ ...Life.start, stage })

/** As many turns in a row, in which nothing is heard or something is. */
const turns = (life: Life.Life, count: number, hasHeard: boolean): Life.Life | Life.GivenUp => {
  let now: Life.Life | Life.GivenUp = life
  for (let index = 0; index < count && !(now instanceof Life.GivenUp); index++) {
    now = Life.turn(now, "tcg", hasHeard)
  }
  return now
}

describe("the life of a machine", () => {
  it("comes from its start to its outputs, one stage after another", () => {
    const seen: Array<Life.Stage> = []
    let life = Life.start
    for (;;) {
      seen.push(life.stage)
      const [next] = Life.table[life.stage].leadsTo
      if (next === undefined) break
      const reached = Life.reach(life, next)
      assert.isFalse(reached instanceof Life.GivenUp)
      life = reached as Life.Life
    }

    assert.deepStrictEqual(seen, ["Reserving", "Preparing", "Booting", "Ready", "Running", "Collecting"])
  })

  it.prop("ends from anywhere, and skips nothing", [Stage, Stage], ([from, to]) => {
    const reached = Life.reach(at(from), to)

    const may = to === "Releasing" || Life.table[from].leadsTo.includes(to)
    assert.strictEqual(reached instanceof Life.GivenUp, !may)
  })

  it("is over when nothing is heard where something should be", () => {
    assert.isFalse(turns(at("Running"), Life.silentTurnsMax - 1, false) instanceof Life.GivenUp)
    assert.isTrue(turns(at("Running"), Life.silentTurnsMax, false) instanceof Life.GivenUp)
    assert.isFalse(turns(at("Running"), 100 * Life.silentTurnsMax, true) instanceof Life.GivenUp)
  })

  it("begins to count anew with everything that is heard", () => {
    const late = turns(at("Running"), Life.silentTurnsMax - 1, false) as Life.Life
    const heard = Life.turn(late, "tcg", true) as Life.Life

    assert.isFalse(turns(heard, Life.silentTurnsMax - 1, false) instanceof Life.GivenUp)
  })

  it.prop("keeps to the time that a stage has", [Stage], ([stage]) => {
    const { within } = Life.table[stage]

    const spent = turns(at(stage), within?.tcg ?? 10_000, true)

    assert.isFalse(spent instanceof Life.GivenUp)
    assert.strictEqual(Life.turn(spent as Life.Life, "tcg", true) instanceof Life.GivenUp, within !== null)
  })
})
