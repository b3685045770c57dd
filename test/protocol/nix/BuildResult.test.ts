import { assert, describe, it } from "@effect/vitest"
import * as BuildResult from "../../../src/protocol/nix/BuildResult.ts"
import { accepted, refused } from "../../support/parsed.ts"

describe("the status of a build", () => {
  it("has a number of its own, from 0 to 14", () => {
    const numbers = Object.values(BuildResult.statuses)
    assert.deepStrictEqual(
      [...numbers].sort((a, b) => a - b),
      Array.from({ length: 15 }, (_, number) => number)
    )
    for (const status of BuildResult.Status.literals) {
      assert.strictEqual(accepted(BuildResult.statusOf(BuildResult.statuses[status])), status)
    }
  })

  it("is none beyond, where newer clients hang up", () => {
    for (const number of [-1, 0.5, 15, 256]) assert.isString(refused(BuildResult.statusOf(number)))
  })

  it("is success in four ways", () => {
    assert.deepStrictEqual(
      BuildResult.Status.literals.filter(BuildResult.isSuccess).map((status) => BuildResult.statuses[status]),
      [0, 1, 2, 13]
    )
  })
})
