import { assert, describe, it } from "@effect/vitest"
import * as NarInfo from "../../../src/protocol/narinfo/NarInfo.ts"
import { PathInfo } from "../../../src/protocol/nix/PathInfo.ts"
import * as Signature from "../../../src/protocol/nix/Signature.ts"
import * as goldens from "../../golden/nix/realisations.ts"
import { accepted, refused } from "../../support/parsed.ts"

const trusted = [accepted(Signature.parsePublicKey(goldens.publicKey))]
const narinfos = Object.entries(goldens.narinfos)
const [[, golden] = ["", ""]] = narinfos

describe("a narinfo", () => {
  for (const [hashPart, text] of narinfos) {
    it(`is written and signed as Nix 2.8.0 did for ${hashPart}`, () => {
      const narinfo = accepted(NarInfo.parse(text))
      const [signature = ""] = narinfo.info.signatures

      assert.strictEqual(NarInfo.print(narinfo), text)
      assert.isTrue(Signature.isSignedBy(trusted, Signature.fingerprint(narinfo.info), signature))
      assert.strictEqual(
        Signature.signText(accepted(Signature.parseSecretKey(goldens.secretKey)), Signature.fingerprint(narinfo.info)),
        signature
      )
    })
  }

  it("is signed for its contents, its size and its references", () => {
    const { info } = accepted(NarInfo.parse(golden))
    const [signature = ""] = info.signatures
    const others = [
      { narSize: info.narSize + 8 },
      { references: [] },
      { narHash: info.narHash.replace(/./, "f") as typeof info.narHash }
    ]

    assert.isAbove(info.references.length, 0)
    for (const other of others) {
      assert.isFalse(Signature.isSignedBy(trusted, Signature.fingerprint(Object.assign({}, info, other)), signature))
    }
  })

  it("is read with keys that nobody knows, several signatures, and without what may be absent", () => {
    const lines = golden.split("\n").filter((line) => !/^(Deriver|FileHash|FileSize|CA|Compression|Sig): /.test(line))
    const { compression, fileHash, fileSize, info } = accepted(
      NarInfo.parse(["X: y", "Sig: a:AAAA", "Sig: b:BBBB", "Deriver: unknown-deriver", ...lines].join("\n"))
    )

    assert.deepStrictEqual(
      { compression, fileHash, fileSize },
      { compression: "bzip2", fileHash: null, fileSize: null }
    )
    assert.deepStrictEqual(info.signatures, ["a:AAAA", "b:BBBB"])
    assert.isNull(info.deriver)
    assert.strictEqual(info.contentAddress, "")
  })

  it("cannot be made to say more by a content address", () => {
    const narinfo = accepted(NarInfo.parse(golden))
    const info = new PathInfo(Object.assign({}, narinfo.info, { contentAddress: "text:sha256:0\nSig: a:AAAA" }))

    assert.notInclude(NarInfo.print({ ...narinfo, info }), "AAAA")
  })

  const hostile: Record<string, readonly [change: (text: string) => string, expected: string]> = {
    "nothing in it": [() => "", "line's end"],
    "its last line cut": [(text) => text.slice(0, -1), "line's end"],
    "a line without a key": [(text) => `${text}nonsense\n`, "a line `Key: value`"],
    "a key twice": [(text) => `${text}NarSize: 1\n`, "each key once"],
    "no path": [(text) => text.replace(/^StorePath.*\n/m, ""), "the line StorePath"],
    "a path elsewhere": [(text) => text.replace("/nix/store", "/gnu/store"), "store path"],
    "another hash": [(text) => text.replace(/^NarHash.*/m, "NarHash: sha256:0"), "a sha256 hash"],
    "a size of zero": [(text) => text.replace(/^NarSize.*/m, "NarSize: 0"), "a path info"],
    "a size below zero": [(text) => text.replace(/^NarSize.*/m, "NarSize: -1"), "a number of bytes"],
    "a size that no number holds": [
      (text) => text.replace(/^NarSize.*/m, "NarSize: 9999999999999999"),
      "a number of bytes"
    ],
    "absolute references": [(text) => text.replace(/^References: /m, "References: /nix/store/"), "store path"],
    "no content address where it says one": [(text) => text.replace(/^CA: .*/m, "CA: x"), "a content address"],
    "white space in a signature": [(text) => text.replace(/^Sig: /m, "Sig: a b:"), "a path info"]
  }
  for (const [what, [change, expected]] of Object.entries(hostile)) {
    it(`is refused with ${what}`, () => {
      assert.include(refused(NarInfo.parse(change(golden))), expected)
    })
  }
})
