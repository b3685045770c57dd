/** Keys made here are OpenSSH's: its own program reads them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { execFileSync } from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as OpenSshKey from "../../src/cli/OpenSshKey.ts"
import { fingerprint, isSignedBy } from "../../src/ssh/Authentication.ts"

/** What ssh-keygen says of a private key. */
const keygen = (privateKey: string, ...words: ReadonlyArray<string>) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-key-"))
  try {
    const file = path.join(directory, "key")
    fs.writeFileSync(file, privateKey, { mode: 0o600 })
    return execFileSync("ssh-keygen", [...words, "-f", file], { encoding: "utf8" }).trim()
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
}

describe("a key", () => {
  it.effect("is read by ssh-keygen, which sees the same public key in it", () =>
    Effect.gen(function* () {
      const key = yield* OpenSshKey.generate("ann@here")

      assert.strictEqual(keygen(key.privateKey, "-y"), OpenSshKey.printPublic(key.publicKey, "ann@here"))
      assert.include(keygen(key.privateKey, "-l"), fingerprint(key.publicKey))
    })
  )

  const comments = Schema.String.check(Schema.isPattern(/^[a-z]{0,20}$/))
  it.effect.prop("has a comment of any length", [comments], ([comment]) =>
    Effect.gen(function* () {
      const { publicKey, seed } = yield* OpenSshKey.generateRaw

      const text = OpenSshKey.print(seed, publicKey, comment, 1)

      const length = Buffer.from(text.split("\n").slice(1, -2).join(""), "base64").length
      const fixed = 15 + (4 + 4) * 2 + 4 + 4 + (4 + 51) + 4
      assert.strictEqual((length - fixed) % 8, 0)
    })
  )

  it.effect("signs what its public half verifies", () =>
    Effect.gen(function* () {
      const { publicKey, seed } = yield* OpenSshKey.generateRaw
      const line = yield* OpenSshKey.parsePublic(
        OpenSshKey.printPublic(
          Buffer.concat([Buffer.from("0000000b7373682d6564323535313900000020", "hex"), publicKey]),
          ""
        )
      )
      const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed])
      const key = crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" })

      const signature = crypto.sign(null, Buffer.from("words"), key)

      assert.isTrue(isSignedBy(line.publicKey, Buffer.from("words"), signature))
      assert.isFalse(isSignedBy(line.publicKey, Buffer.from("other words"), signature))
    })
  )
})

describe("a public key's line", () => {
  it.effect("is read as it is written", () =>
    Effect.gen(function* () {
      const { publicKey } = yield* OpenSshKey.generate("")

      const read = yield* OpenSshKey.parsePublic(`${OpenSshKey.printPublic(publicKey, "ann on her laptop")}\n`)

      assert.deepStrictEqual(read, { publicKey: new Uint8Array(publicKey), comment: "ann on her laptop" })
    })
  )

  it.effect.each([
    "",
    "ssh-rsa AAAAB3NzaC1yc2E= ann",
    "ssh-ed25519",
    "ssh-ed25519 AAAA ann",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB\nssh-ed25519 AAAA",
    "nonsense"
  ])("is refused as %j", (text) =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(OpenSshKey.parsePublic(text))

      assert.include(refused.message, 'expected a line "ssh-ed25519')
    })
  )

  it.effect("never repeats a private key", () =>
    Effect.gen(function* () {
      const { privateKey } = yield* OpenSshKey.generate("")

      const refused = yield* Effect.flip(OpenSshKey.parsePublic(privateKey))

      assert.notInclude(refused.message, privateKey.slice(40, 60))
      assert.include(refused.message, "a private key")
    })
  )
})
