import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Base32 from "../../../src/protocol/nix/Base32.ts"
import * as Hash from "../../../src/protocol/nix/Hash.ts"
import { spellings } from "../../golden/nix/hashes.ts"
import { accepted, refused } from "../../support/parsed.ts"

describe("nixbase32", () => {
  it.prop("comes back to its bytes", [Schema.Uint8Array], ([bytes]) => {
    const text = Base32.encode(bytes)
    assert.strictEqual(text.length, Base32.lengthOf(bytes.length))
    assert.deepStrictEqual(accepted(Base32.decode(text)), bytes)
  })

  it("is not read with other letters, lengths, or bits that no byte has", () => {
    assert.strictEqual(refused(Base32.decode("e".repeat(32))), "a nixbase32 character")
    assert.strictEqual(refused(Base32.decode("A".repeat(32))), "a nixbase32 character")
    assert.strictEqual(refused(Base32.decode("0".repeat(33))), "nixbase32 of whole bytes")
    // 52 characters are 260 bits for 256, so the first is 0 or 1.
    assert.strictEqual(refused(Base32.decode("2" + "0".repeat(51))), "nixbase32 of whole bytes")
    assert.strictEqual(accepted(Base32.decode("1" + "0".repeat(51)))[31], 0x80)
  })
})

describe("a hash", () => {
  for (const { algorithm, base16, nix32, sri } of spellings) {
    const hash: Hash.Hash = { algorithm, hex: base16 }

    it(`by ${algorithm} is spelled as Nix 2.8.0 does`, () => {
      assert.strictEqual(Hash.digest(algorithm, "seven b"), base16)
      assert.strictEqual(Hash.printBase16(hash), `${algorithm}:${base16}`)
      assert.strictEqual(Hash.printNix32(hash), `${algorithm}:${nix32}`)
      assert.strictEqual(Hash.printSri(hash), sri)
    })

    it(`by ${algorithm} is read in each spelling`, () => {
      const base64 = sri.slice(algorithm.length + 1)
      for (const text of [`${algorithm}:${base16}`, `${algorithm}:${nix32}`, `${algorithm}:${base64}`, sri]) {
        assert.deepStrictEqual(Hash.parse(text), hash)
        assert.deepStrictEqual(Hash.parseAs(algorithm, text), hash)
      }
      for (const text of [base16, base16.toUpperCase(), nix32, base64]) {
        assert.deepStrictEqual(Hash.parseAs(algorithm, text), hash)
      }
    })
  }

  it("is refused in no or another algorithm, or in no spelling", () => {
    const [{ base16 }, , { base16: sha256, nix32 }] = spellings

    for (const text of [
      "",
      base16,
      `md4:${base16}`,
      `md5:${base16}0`,
      `md5:${"g".repeat(32)}`,
      `md5-${base16}`,
      `sha256:${nix32.slice(1)}=`
    ]) {
      assert.isString(refused(Hash.parse(text)))
    }
    assert.isString(refused(Hash.parseAs("md5", `sha256:${sha256}`)))
    assert.isString(refused(Hash.parseAs("sha256", `${sha256}\n`)))
    // Base 64 of 32 bytes, but with bits set that are in none of them.
    assert.isString(refused(Hash.parseAs("sha256", "tyhyvSpnRgY+vEVDN71iIqKcyazEK24x9x+fhVuSjFd=")))
  })

  it("is folded by exclusive or", () => {
    assert.deepStrictEqual([...Hash.compress(Uint8Array.of(1, 2, 3, 4, 5), 2)], [1 ^ 3 ^ 5, 2 ^ 4])
  })
})
