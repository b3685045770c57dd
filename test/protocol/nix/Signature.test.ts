import { assert, describe, it } from "@effect/vitest"
import * as Signature from "../../../src/protocol/nix/Signature.ts"
import * as goldens from "../../golden/nix/realisations.ts"
import { accepted, refused } from "../../support/parsed.ts"

const secret = accepted(Signature.parseSecretKey(goldens.secretKey))
const trusted = [accepted(Signature.parsePublicKey(goldens.publicKey))]

describe("a key", () => {
  it("is written as Nix 2.8.0 wrote it", () => {
    assert.strictEqual(Signature.printSecretKey(secret), goldens.secretKey)
    assert.strictEqual(Signature.printPublicKey(secret), goldens.publicKey)
  })

  it("made here can be written, read, and used", () => {
    const made = Signature.generate("drover-1")
    const again = accepted(Signature.parseSecretKey(Signature.printSecretKey(made)))
    const known = accepted(Signature.parsePublicKey(Signature.printPublicKey(made)))

    assert.isTrue(Signature.isSignedBy([known], "text", Signature.signText(again, "text")))
    assert.notStrictEqual(Signature.printSecretKey(made), Signature.printSecretKey(Signature.generate("drover-1")))
  })

  it("is refused without a name, of another size, or with another's public key, and not repeated", () => {
    const [, base64 = ""] = goldens.secretKey.split(":")
    const bytes = Buffer.from(base64, "base64")
    bytes[63] = (bytes[63] ?? 0) ^ 1
    for (const text of [
      "",
      base64,
      `:${base64}`,
      `a b:${base64}`,
      `a:${base64.slice(4)}`,
      `a:${base64}!`,
      `a:${bytes.toString("base64")}`
    ]) {
      const error: unknown = Signature.parseSecretKey(text)
      assert.isString(refused(error))
      assert.notInclude(JSON.stringify(error), base64.slice(4, 40))
    }
    assert.isString(refused(Signature.parsePublicKey(goldens.secretKey)))
  })
})

describe("a signature", () => {
  const signature = Signature.signText(secret, "text")

  it("is by the key that made it, of what was signed", () => {
    assert.isTrue(Signature.isSignedBy(trusted, "text", signature))
    assert.isFalse(Signature.isSignedBy(trusted, "texts", signature))
    assert.isFalse(Signature.isSignedBy([], "text", signature))
  })

  it("is by nobody under another name, changed, or none at all", () => {
    const [, base64 = ""] = signature.split(":")
    const other = accepted(Signature.parsePublicKey(Signature.printPublicKey(Signature.generate("golden-1"))))
    assert.isFalse(Signature.isSignedBy([other], "text", signature))
    assert.isTrue(Signature.isSignedBy([other, ...trusted], "text", signature))
    for (const text of [
      "",
      "golden-1",
      "golden-1:",
      `golden-2:${base64}`,
      base64,
      `golden-1:${base64.slice(0, -4)}`,
      `golden-1:A${base64.slice(1)}`
    ]) {
      assert.isFalse(Signature.isSignedBy(trusted, "text", text), text)
    }
  })
})
