import { assert, describe, it } from "@effect/vitest"
import * as DerivedPath from "../../../src/protocol/nix/DerivedPath.ts"
import { accepted, refused } from "../../support/parsed.ts"

const drv = `/nix/store/${"0".repeat(32)}-a.drv`

describe("a derived path", () => {
  it.prop("comes back from its text", [DerivedPath.DerivedPath], ([path]) => {
    assert.deepStrictEqual(accepted(DerivedPath.parse(DerivedPath.print(path))), path)
  })

  it("is read in the legacy notation", () => {
    const derivation = `${"0".repeat(32)}-a.drv`
    const cases: Record<string, unknown> = {
      [drv]: { _tag: "Opaque", path: derivation },
      [`${drv}!*`]: { _tag: "Built", derivation, via: [], outputs: "all" },
      [`${drv}!out,dev`]: { _tag: "Built", derivation, via: [], outputs: ["out", "dev"] },
      [`${drv}!out!bin`]: { _tag: "Built", derivation, via: ["out"], outputs: ["bin"] }
    }
    for (const [text, path] of Object.entries(cases)) assert.deepStrictEqual<unknown>(DerivedPath.parse(text), path)
  })

  it("is refused without a path, with no name, or deeper than anybody needs", () => {
    for (const text of [
      "",
      "!out",
      `${drv}!`,
      `${drv}!out,`,
      `${drv}!*!out`,
      `${drv}!*,out`,
      `${drv}!a/b`,
      `${drv}^out`
    ]) {
      assert.isString(refused(DerivedPath.parse(text)))
    }
    assert.isOk(accepted(DerivedPath.parse(`${drv}${"!out".repeat(65)}`)))
    assert.include(refused(DerivedPath.parse(`${drv}${"!out".repeat(66)}`)), "at most 64")
    assert.include(refused(DerivedPath.parse(`${drv}${"!out".repeat(100_000)}`)), "at most 64")
    assert.include(refused(DerivedPath.parse(`${drv}!${",".repeat(DerivedPath.bytesMax)}`)), "bytes")
  })
})
