import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Lister, type Listing, type Regular } from "../../../src/protocol/nar/Listing.ts"
import { Reader } from "../../../src/protocol/nar/Reader.ts"
import * as Writer from "../../../src/protocol/nar/Writer.ts"
import * as goldens from "../../golden/nar/trees.ts"
import { refusedBy } from "../../support/parsed.ts"
import { encode, Tree } from "../../support/trees.ts"

const listed = (nar: Uint8Array): Listing => {
  const lister = new Lister()
  const reader = new Reader(lister)
  reader.push(nar)
  reader.end()
  if (lister.listing === null) return assert.fail("nothing was listed")
  return lister.listing
}

const from =
  (nar: Uint8Array) =>
  ({ narOffset, size }: Regular) => [nar.subarray(narOffset, narOffset + size)]

describe("a NAR writer", () => {
  for (const [name, { nar }] of Object.entries({ tree: goldens.tree, latin: goldens.latin })) {
    it(`writes ${name} as Nix 2.8.0 did`, () => {
      const golden = Buffer.from(nar, "base64")

      assert.deepStrictEqual(Buffer.concat([...Writer.tree(listed(golden), from(golden))]), golden)
    })
  }

  it.prop("writes what was read", [Tree], ([tree]) => {
    const nar = Buffer.from(encode(tree))
    assert.deepStrictEqual(Buffer.concat([...Writer.tree(listed(nar), from(nar))]), nar)
  })

  it.prop(
    "writes one file, around its contents or whole",
    [Schema.Uint8Array, Schema.Boolean],
    ([contents, executable]) => {
      const nar = Writer.file(contents, executable)

      assert.deepStrictEqual(listed(nar), {
        type: "regular",
        size: contents.length,
        executable,
        narOffset: executable ? 128 : 96
      })
      assert.strictEqual(nar.length, Writer.fileSize(contents.length, executable))
      assert.deepStrictEqual(nar, Buffer.from(encode({ _tag: "File", executable, contents })))
    }
  )

  it("refuses contents of another size than listed", () => {
    const listing: Listing = { type: "regular", size: 3, executable: false, narOffset: 96 }

    for (const contents of ["ab", "abcd"]) {
      assert.strictEqual(
        refusedBy(() => [...Writer.tree(listing, () => [Buffer.from(contents)])]),
        "a file of 3 bytes"
      )
    }
  })

  it("refuses a name that stands for no bytes", () => {
    const listing: Listing = { type: "symlink", target: "\ud800" }

    assert.strictEqual(
      refusedBy(() => [...Writer.tree(listing, () => [])]),
      "a name that stands for bytes"
    )
  })
})
