import { assert, describe, it } from "@effect/vitest"
import * as Realisation from "../../../src/protocol/nix/Realisation.ts"
import { realisations } from "../../golden/nix/realisations.ts"
import { accepted, refused } from "../../support/parsed.ts"

/** Sorted by the names of what they are of, as a JSON object is. */
const canonical = (realisation: Realisation.Realisation): Realisation.Realisation => {
  const dependents = new Map(realisation.dependentRealisations.map((entry) => [Realisation.printId(entry[0]), entry]))
  return {
    ...realisation,
    signatures: [...realisation.signatures].sort(),
    dependentRealisations: [...dependents].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry)
  }
}

describe("a realisation", () => {
  it("is written as Nix 2.8.0 wrote it", () => {
    for (const text of realisations) {
      assert.strictEqual(Realisation.printJson(accepted(Realisation.parseJson(text))), text)
    }
  })

  it.prop("comes back from its text", [Realisation.Realisation], ([any]) => {
    const realisation = canonical(any)
    assert.deepStrictEqual(accepted(Realisation.parseJson(Realisation.printJson(realisation))), realisation)
  })

  it.prop("is signed without its signatures", [Realisation.Realisation], ([realisation]) => {
    const unsigned = Realisation.printJson({ ...realisation, signatures: [] })
    assert.strictEqual(`${Realisation.fingerprint(realisation).slice(0, -1)},"signatures":[]}`, unsigned)
  })

  it("is read without what old versions did not write", () => {
    const [text = ""] = realisations
    const { id, outPath } = JSON.parse(text)

    assert.deepStrictEqual(
      accepted(Realisation.parseJson(JSON.stringify({ id, outPath }))),
      accepted(Realisation.parseJson(text))
    )
  })

  it("is refused with an absolute path, another id, or as anything else", () => {
    const [text = ""] = realisations
    const realisation = JSON.parse(text)
    const changes = [
      { outPath: `/nix/store/${realisation.outPath}` },
      { id: "sha256:00!out" },
      { id: 1 },
      { signatures: [1] },
      { signatures: ["a b"] },
      { dependentRealisations: { x: realisation.outPath } }
    ]
    for (const change of changes)
      assert.isString(refused(Realisation.parseJson(JSON.stringify({ ...realisation, ...change }))))
    for (const text of ["", "null", "[]", "{}"]) assert.isString(refused(Realisation.parseJson(text)))
  })
})

describe("the id of an output", () => {
  it.prop("comes back from its text", [Realisation.OutputId], ([id]) => {
    assert.deepStrictEqual(accepted(Realisation.parseId(Realisation.printId(id))), id)
  })

  it("is refused by another algorithm, length or name", () => {
    for (const text of [
      "",
      `sha1:${"0".repeat(40)}!out`,
      `sha256:${"0".repeat(63)}!out`,
      `sha256:${"0".repeat(64)}!`,
      `sha256:${"0".repeat(64)}!a!b`,
      `sha256:${"A".repeat(64)}!out`
    ]) {
      assert.isString(refused(Realisation.parseId(text)))
    }
  })
})
