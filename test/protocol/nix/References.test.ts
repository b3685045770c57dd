import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Base32 from "../../../src/protocol/nix/Base32.ts"
import { Scanner } from "../../../src/protocol/nix/References.ts"

const hashPart = (seed: number) =>
  Base32.encode(Uint8Array.from({ length: 20 }, (_, index) => (seed * 37 + index * 11) & 0xff))
const candidates = Array.from({ length: 20 }, (_, seed) => hashPart(seed))
const [first = "", second = "", third = ""] = candidates

const scan = (contents: string, chunkSize: number): ReadonlyArray<string> => {
  const scanner = new Scanner(candidates)
  const lent = Buffer.alloc(chunkSize)
  const bytes = Buffer.from(contents, "latin1")
  for (let offset = 0; offset < bytes.length; offset += chunkSize) {
    const chunk = bytes.subarray(offset, offset + chunkSize)
    lent.set(chunk)
    scanner.push(lent.subarray(0, chunk.length))
    lent.fill(0x30)
  }
  return [...scanner.found].sort()
}

/** As slow and plain as can be. */
const search = (contents: string) => candidates.filter((candidate) => contents.includes(candidate)).sort()

/** Hash parts whole, cut, and side by side, with what else there may be between them. */
const Piece = Schema.Union([
  Schema.Literals(candidates),
  Schema.Literals([
    first.slice(0, 31),
    first.slice(1),
    second.slice(0, 16),
    second.slice(16),
    third.toUpperCase(),
    "/nix/store/",
    "\xff",
    "e",
    "0"
  ]),
  Schema.String.check(Schema.isPattern(/^[0-9a-z]{0,40}$/))
])

describe("a reference scanner", () => {
  it.prop(
    "finds what is there, however it is cut",
    [Schema.Array(Piece), Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 80 }))],
    ([pieces, size]) => {
      const contents = pieces.join("")
      const expected = search(contents)
      for (const chunkSize of [size, 1, 7, 777, 65_536]) assert.deepStrictEqual(scan(contents, chunkSize), expected)
    }
  )

  it("finds hash parts anywhere, with nothing around them", () => {
    assert.deepStrictEqual(scan(first, 65_536), [first])
    assert.deepStrictEqual(scan(`${first}${second}`, 65_536), [first, second].sort())
    assert.deepStrictEqual(scan(`aaa${first}aaa`, 65_536), [first])
    assert.deepStrictEqual(scan(`${first.slice(0, 5)}${first}`, 65_536), [first])
  })

  it("finds no hash part that is interrupted, in capitals, or a candidate of nobody", () => {
    assert.deepStrictEqual(scan(`${first.slice(0, 16)} ${first.slice(16)}`, 65_536), [])
    assert.deepStrictEqual(scan(first.toUpperCase(), 65_536), [])
    assert.deepStrictEqual(scan(hashPart(99), 65_536), [])
  })
})
