import { assert, describe, it } from "@effect/vitest"
import * as Environment from "../../src/ssh/Environment.ts"

describe("an environment", () => {
  it("keeps what is said, and of a name said twice the last", () => {
    const environment = Environment.make()

    assert.isTrue(environment.add("DROVER_A", "1"))
    assert.isTrue(environment.add("DROVER_A", "2\n"))
    assert.isTrue(environment.add("_b2", ""))

    assert.deepStrictEqual(
      [...environment.variables],
      [
        ["DROVER_A", "2\n"],
        ["_b2", ""]
      ]
    )
  })

  it("takes no more than its bounds", () => {
    const environment = Environment.make()

    for (let index = 0; index < Environment.countMax; index++) assert.isTrue(environment.add(`A${index}`, ""))
    assert.isFalse(environment.add("B", ""))
    assert.isTrue(environment.add("A0", "x".repeat(Environment.valueMax)))
    assert.isFalse(environment.add("A0", "x".repeat(Environment.valueMax + 1)))

    assert.strictEqual(environment.variables.size, Environment.countMax)
  })

  it("takes only names and values that a program's environment can hold", () => {
    const environment = Environment.make()
    const names = ["", "1A", "A B", "A=B", "__proto__\0", "Ä", "A".repeat(Environment.nameMax + 1)]

    for (const name of names) assert.isFalse(environment.add(name, "x"), name)
    assert.isFalse(environment.add("A", "x\0y"))
    assert.strictEqual(environment.variables.size, 0)
  })
})
