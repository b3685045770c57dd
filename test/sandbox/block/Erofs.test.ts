import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Listing, Regular } from "../../../src/protocol/nar/Listing.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import * as Erofs from "../../../src/sandbox/block/Erofs.ts"
import { blockBytes } from "../../../src/sandbox/block/Layout.ts"
import * as NarImage from "../../../src/sandbox/block/NarImage.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import * as erofs from "../../support/erofs.ts"
import * as listed from "../../support/listed.ts"
import { Tree } from "../../support/trees.ts"

const pathOf = (index: number) => StorePath.make(`${"0123456789abcdf"[index % 15]!.repeat(32)}-path-${index}`)

/** The image with its files in place, by the plainest means. */
const imageOf = (trees: ReadonlyArray<Tree>) => {
  const members = trees.map((tree, index) => {
    const { contents, listing } = listed.listing(tree)
    return { path: pathOf(index), image: NarImage.compose(listing), contents }
  })
  const image = Erofs.compose(members)
  if (image instanceof SandboxError) throw image
  const whole = Buffer.alloc(image.sizeBytes)
  whole.set(image.metadata)
  for (const { firstBlock, member } of image.parts) {
    const { firstBlocks, narOffsets, sizes } = member.image.extents
    firstBlocks.forEach((block, index) =>
      whole.set(
        member.contents.subarray(narOffsets[index], narOffsets[index]! + sizes[index]!),
        (firstBlock + block) * blockBytes
      )
    )
  }
  return whole
}

const expected = (trees: ReadonlyArray<Tree>) =>
  Object.fromEntries(trees.map((tree, index) => [pathOf(index), listed.found(tree)]))

const directory = (entries: { readonly [name: string]: Tree }): Tree => ({ _tag: "Directory", entries })
const file = (contents: string | Uint8Array, executable = false): Tree => ({
  _tag: "File",
  executable,
  contents: Buffer.from(contents)
})

describe("Erofs", () => {
  it.prop("shows what the listings say", [Schema.Array(Tree).check(Schema.isMaxLength(5))], ([trees]) => {
    assert.deepStrictEqual(erofs.read(imageOf(trees)).entries, expected(trees))
  })

  it.each([
    ["an empty closure", []],
    ["files alone", [file("a"), file("", true), file(Buffer.alloc(blockBytes, "b"))]],
    ["a directory of many blocks", [directory(many(2000))]],
    ["a directory whose end just fits after its inode, and one whose does not", boundaries()],
    ["names before, between and after the two dots", [directory(names("!", "-a", ".-", "..-", "...", ".a", "a"))]],
    ["names that are no text", [directory(names("\udcff", "\udc80a", "é"))]],
    ["targets of every length about a block", [directory(targets(4000, 4030, 4063, 4064, 4065, 4095))]],
    ["many store paths", Array.from({ length: 300 }, (_, index) => file(`${index}`))]
  ] as ReadonlyArray<readonly [string, ReadonlyArray<Tree>]>)("has %s", (_, trees) => {
    assert.deepStrictEqual(erofs.read(imageOf(trees)).entries, expected(trees))
  })

  it("says the size of a file that no short inode can hold", () => {
    const size = 5 * 2 ** 30 + 1
    const huge: Regular = { type: "regular", size, executable: false, narOffset: 96 }
    const image = Erofs.compose([{ path: pathOf(0), image: NarImage.compose(huge) }])
    if (image instanceof SandboxError) throw image

    const bytes = Buffer.from(image.metadata)
    const inode = 2 * blockBytes
    assert.strictEqual(bytes.readUInt16LE(inode), 1, "the long form")
    assert.strictEqual(bytes.readBigUInt64LE(inode + 8), BigInt(size))
    assert.strictEqual(image.sizeBytes, bytes.length + (5 * 2 ** 18 + 1) * blockBytes)
  })

  it("refuses a store path that is there twice", () => {
    const image = NarImage.compose({ type: "symlink", target: "a" })
    const refused = Erofs.compose([0, 1].map(() => ({ path: pathOf(0), image })))

    assert.instanceOf(refused, SandboxError)
    if (refused instanceof SandboxError) assert.match(refused.message, /found .*-path-0 twice/)
  })

  it("refuses what needs more blocks than can be addressed", () => {
    const image = NarImage.compose({ type: "regular", size: 2 ** 43, executable: false, narOffset: 96 })
    const refused = Erofs.compose([0, 1].map((index) => ({ path: pathOf(index), image })))

    assert.instanceOf(refused, SandboxError)
    if (refused instanceof SandboxError) assert.match(refused.message, /expected at most \d+ blocks/)
  })

  it("costs no more for a directory with many entries than for many directories", () => {
    const entries: { [name: string]: Listing } = Object.create(null)
    for (let index = 0; index < 100_000; index++) {
      entries[`entry-${index}`] = { type: "regular", size: 1, executable: false, narOffset: 8 * index }
    }
    const { inodes, metadata } = NarImage.compose({ type: "directory", entries })

    assert.strictEqual(inodes, 100_001)
    assert.isBelow(metadata.byteLength / inodes, 64)
  })
})

function many(count: number): { readonly [name: string]: Tree } {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`a-rather-long-name-${index}`, file(`${index}`)])
  )
}

/** Directories of one entry more each time, so that their ends take every number of bytes about a block. */
function boundaries(): ReadonlyArray<Tree> {
  const full = (bytes: number) => {
    // The two dots take 27 bytes, every further entry 12 and its name.
    const count = Math.floor((bytes - 27) / 100) - 1
    const rest = bytes - 27 - count * 100
    const entries = Array.from({ length: count }, (_, index) => `${index}`.padStart(88, "n"))
    return directory(Object.fromEntries([...entries, "z".repeat(rest - 12)].map((name) => [name, file("")])))
  }
  return [4063, 4064, 4065, 4066, 4095, 4096].map(full)
}

function names(...all: ReadonlyArray<string>): { readonly [name: string]: Tree } {
  return Object.fromEntries(all.map((name) => [name, file(name.length.toString())]))
}

function targets(...lengths: ReadonlyArray<number>): { readonly [name: string]: Tree } {
  return Object.fromEntries(lengths.map((length) => [`${length}`, { _tag: "Symlink", target: "t".repeat(length) }]))
}
