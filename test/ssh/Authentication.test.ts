import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as crypto from "node:crypto"
import * as Authentication from "../../src/ssh/Authentication.ts"

const pair = crypto.generateKeyPairSync("ed25519")
const lengthPrefixed = (bytes: Uint8Array) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes])
const blob = Buffer.concat([
  lengthPrefixed(Buffer.from("ssh-ed25519")),
  lengthPrefixed(pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32))
])
const signed = Buffer.from("what was agreed on")
const signature = crypto.sign(null, signed, pair.privateKey)

describe("authentication", () => {
  it("believes a signature of the key, and no other", () => {
    assert.isTrue(Authentication.isSignedBy(blob, signed, signature))
    assert.isFalse(Authentication.isSignedBy(blob, Buffer.from("something else"), signature))
    assert.isFalse(Authentication.isSignedBy(blob, signed, signature.subarray(1)))
    assert.isFalse(Authentication.isSignedBy(blob, signed, Buffer.concat([signature, Buffer.alloc(1)])))
  })

  it("looks at Ed25519 keys alone, whole and with nothing after them", () => {
    assert.isTrue(Authentication.isEd25519(blob))
    assert.isFalse(Authentication.isEd25519(blob.subarray(0, -1)))
    assert.isFalse(Authentication.isEd25519(Buffer.concat([blob, Buffer.alloc(1)])))
    assert.isFalse(Authentication.isEd25519(Buffer.concat([lengthPrefixed(Buffer.from("ssh-rsa")), Buffer.alloc(40)])))
  })

  it.prop(
    "refuses whatever is not a key or not a signature",
    [Schema.Uint8Array, Schema.Uint8Array],
    ([one, other]) => {
      assert.isFalse(Authentication.isSignedBy(one, signed, signature))
      assert.isFalse(Authentication.isSignedBy(blob, signed, other))
      assert.isFalse(
        Authentication.isSignedBy(
          Buffer.concat([blob.subarray(0, 19), crypto.hash("sha256", one, "buffer")]),
          signed,
          signature
        )
      )
    }
  )

  it("prints fingerprints as OpenSSH does", () => {
    // Of a key made for this test by OpenSSH 9.2; the fingerprint is what `ssh-keygen -l` said of it.
    const key = "AAAAC3NzaC1lZDI1NTE5AAAAIPfEMkXKsQE4h2euLj1pLCJgv2WL6bcnWNUQZobAxJga"
    assert.strictEqual(
      Authentication.fingerprint(Buffer.from(key, "base64")),
      "SHA256:6LRQb7+tltZrRUSswO00AI48Upv4pPLgGkS0SnuI+BY"
    )
  })
})
