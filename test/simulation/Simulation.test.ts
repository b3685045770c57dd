import { assert, describe, it } from "@effect/vitest"
import { places, plants } from "./Plants.ts"
import { simulate } from "./Simulation.ts"

/** A few seconds' worth: `npm run simulate` is for more. */
const seeds = Array.from({ length: 30 }, (_, index) => index + 1)

describe("the whole service, with everything going wrong that can", () => {
  it("serves whoever waits, breaks no rule and leaves nothing behind", () => {
    const failed = seeds.map(simulate).filter(({ complaints }) => complaints.length > 0)

    assert.deepStrictEqual(
      failed.map(({ complaints, seed }) => `seed ${seed}: ${complaints[0]}`),
      [],
      "`npm run simulate -- --seed N` replays one"
    )
  })

  it("does the same again with the same seed", () => {
    const [once, again] = [simulate(7), simulate(7)]

    assert.deepStrictEqual(again, once)
    assert.isAbove(once.trail.length, 10)
    assert.notStrictEqual(simulate(8).digest, once.digest)
  })
})

describe("the bugs to plant", () => {
  it.each(plants)("have a place: $name", (plant) => {
    assert.strictEqual(places(plant), 1)
  })
})
