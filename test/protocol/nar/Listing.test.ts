import { assert, describe, it } from "@effect/vitest"
import { Lister, type Listing, parseJson, printJson } from "../../../src/protocol/nar/Listing.ts"
import { Reader } from "../../../src/protocol/nar/Reader.ts"
import * as goldens from "../../golden/nar/trees.ts"
import { accepted, refused } from "../../support/parsed.ts"
import { encode, Tree } from "../../support/trees.ts"

const listed = (nar: Uint8Array): Listing => {
  const lister = new Lister()
  new Reader(lister).push(nar)
  return lister.listing ?? assert.fail("nothing was listed")
}

describe("a listing", () => {
  it("is what Nix 2.8.0 lists of the same NAR", () => {
    const golden = accepted(parseJson(goldens.tree.listing))

    assert.deepStrictEqual(listed(Buffer.from(goldens.tree.nar, "base64")), golden)
    assert.deepStrictEqual(JSON.parse(printJson(golden)), JSON.parse(goldens.tree.listing))
  })

  it("has its keys in the order of their bytes", () => {
    const text = printJson(listed(Buffer.from(goldens.tree.nar, "base64")))

    assert.isTrue(text.startsWith('{"root":{"entries":{"10":{"narOffset":232,"size":1,"type":"regular"},"9":'))
    assert.isTrue(text.endsWith('},"version":1}'))
  })

  it.prop("survives its text", [Tree], ([tree]) => {
    const listing = listed(encode(tree))
    assert.deepStrictEqual(accepted(parseJson(printJson(listing))), listing)
  })

  const file = '{"type":"regular","size":1,"narOffset":96}'
  const directory = (entries: string) => `{"version":1,"root":{"type":"directory","entries":${entries}}}`
  const hostile: Record<string, readonly [text: string, expected: string]> = {
    "no JSON": ["{", "a listing as JSON"],
    "another version": ['{"version":2}', "version 1"],
    "no root": ['{"version":1}', "an object"],
    "an unknown type": ['{"version":1,"root":{"type":"fifo"}}', "a type of file"],
    "a negative size": ['{"version":1,"root":{"type":"regular","size":-1,"narOffset":96}}', "a regular file"],
    "entries in a list": [directory("[]"), "the entries of a directory"],
    "the name ..": [directory(`{"..":${file}}`), "the name of a file"],
    "a name with a slash": [directory(`{"a/b":${file}}`), "the name of a file"],
    "a name in another spelling of its bytes": [directory(`{"\\udcc3\\udca4":${file}}`), "the name of a file"],
    "directories 65 deep": [
      `{"version":1,"root":${'{"type":"directory","entries":{"d":'.repeat(65)}${file}${"}}".repeat(65)}}`,
      "the entries of a directory"
    ]
  }
  for (const [what, [text, expected]] of Object.entries(hostile)) {
    it(`is not read from ${what}`, () => {
      assert.include(refused(parseJson(text)), expected)
    })
  }
})
