import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as ContentAddress from "../../../src/protocol/nix/ContentAddress.ts"
import * as Hash from "../../../src/protocol/nix/Hash.ts"
import { HashModulo } from "../../../src/protocol/nix/HashModulo.ts"
import { Rewriter } from "../../../src/protocol/nix/Rewriter.ts"
import { selfNar } from "../../golden/nix/realisations.ts"
import { accepted, refusedBy } from "../../support/parsed.ts"

const from = "0123456789abcdfghijklmnpqrsvwxyz"
const to = "zyxwvsrqpnmlkjihgfdcba9876543210"
const Piece = Schema.Union([
  Schema.Literals([from, from.slice(0, 31), from.slice(1), from.slice(0, 16), from.slice(16), to, "\xff", ""]),
  Schema.String.check(Schema.isPattern(/^[0-9a-z]{0,9}$/))
])
const Size = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 80 }))

const chunks = function* (contents: Uint8Array, size: number) {
  for (let offset = 0; offset < contents.length; offset += size) yield contents.subarray(offset, offset + size)
}

const rewritten = (contents: string, size: number) => {
  const parts: Array<Uint8Array> = []
  const rewriter = new Rewriter(from, to, (chunk) => parts.push(chunk))
  const lent = Buffer.alloc(size)
  for (const chunk of chunks(Buffer.from(contents, "latin1"), size)) {
    lent.set(chunk)
    rewriter.push(lent.subarray(0, chunk.length))
    lent.fill(0)
  }
  rewriter.end()
  return { contents: Buffer.concat(parts).toString("latin1"), offsets: rewriter.offsets }
}

describe("a rewriter", () => {
  it.prop(
    "replaces a hash part wherever it is, however the contents are cut",
    [Schema.Array(Piece), Size],
    ([pieces, size]) => {
      const contents = pieces.join("")
      const offsets = [...contents.matchAll(new RegExp(from, "g"))].map(({ index }) => index)

      for (const chunkSize of [size, 1, 7, 777]) {
        assert.deepStrictEqual(rewritten(contents, chunkSize), { contents: contents.replaceAll(from, to), offsets })
      }
    }
  )

  it("refuses what is no hash part", () => {
    assert.include(
      refusedBy(() => new Rewriter("short", to, () => {})),
      "hash parts of 32"
    )
    assert.include(
      refusedBy(() => new Rewriter(from, "short", () => {})),
      "hash parts of 32"
    )
  })
})

describe("a hash modulo its own path", () => {
  it("makes the path that Nix 2.8.0 gave to something that refers to itself", () => {
    const path = "ys4jyzw8g5p35mrkk38cixpdcssnp17f-ca-self"
    const modulo = new HashModulo("sha256", path.slice(0, 32))
    for (const chunk of chunks(Buffer.from(selfNar, "base64"), 7)) modulo.push(chunk)
    const { withOffsets, withoutOffsets } = modulo.digests()
    const pathBy = (hex: string): string =>
      accepted(
        ContentAddress.storePath(
          "ca-self",
          { method: "nar", hash: { algorithm: "sha256", hex } },
          { others: [], self: true }
        )
      )

    assert.strictEqual(pathBy(withOffsets), path)
    assert.notStrictEqual(pathBy(withoutOffsets), path)
  })

  it("is the plain hash of what does not refer to itself, in either family", () => {
    const modulo = new HashModulo("sha1", from)
    modulo.push(Buffer.from("nothing of the kind"))
    const plain = Hash.digest("sha1", "nothing of the kind")

    assert.deepStrictEqual(modulo.digests(), { withOffsets: plain, withoutOffsets: plain })
  })

  it("hashes zeros and then where they were", () => {
    const modulo = new HashModulo("sha256", from)
    modulo.push(Buffer.from(`ab${from}${from}c`))
    const zeros = `ab${"\0".repeat(64)}c`

    assert.deepStrictEqual(modulo.digests(), {
      withOffsets: Hash.digest("sha256", `${zeros}|2|34`),
      withoutOffsets: Hash.digest("sha256", zeros)
    })
  })
})
