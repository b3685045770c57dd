/** Who we are is made once, kept, and never half there. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { clientFiles } from "../../src/cli/ClientFiles.ts"
import * as Identity from "../../src/cli/Identity.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "drover-identity-"))),
  (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
)

const mode = (file: string) => fs.statSync(file).mode & 0o777

describe("the identity", () => {
  it.effect("is the same at the second start", () =>
    Effect.gen(function* () {
      const directory = yield* temporary

      const first = yield* Identity.prepare(directory)
      const second = yield* Identity.prepare(directory)

      assert.deepStrictEqual(
        { ...second, hostPublicKey: Buffer.from(second.hostPublicKey).toString("hex"), client: second.client.comment },
        { ...first, hostPublicKey: Buffer.from(first.hostPublicKey).toString("hex"), client: first.client.comment }
      )
    })
  )

  it.effect("is nobody else's to read", () =>
    Effect.gen(function* () {
      const directory = yield* temporary

      yield* Identity.prepare(directory)

      for (const file of ["ssh_host_ed25519_key", "signing-key", "client/id_ed25519"]) {
        assert.strictEqual(mode(path.join(directory, file)), 0o600)
      }
    })
  )

  it.effect("has a signing key as Nix keeps one", () =>
    Effect.gen(function* () {
      const directory = yield* temporary

      const { signingKey } = yield* Identity.prepare(directory)

      const [name, secret] = signingKey.split(":")
      const [publicName, publicHalf] = fs
        .readFileSync(path.join(directory, "signing-key.pub"), "utf8")
        .trim()
        .split(":")
      assert.strictEqual(name, publicName)
      const bytes = Buffer.from(secret!, "base64")
      assert.strictEqual(bytes.length, 64)
      assert.strictEqual(bytes.subarray(32).toString("base64"), publicHalf)
    })
  )

  it.effect("is not made anew because half of it is gone", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      yield* Identity.prepare(directory)
      fs.rmSync(`${clientFiles(directory).key}.pub`)

      const refused = yield* Effect.flip(Identity.prepare(directory))

      assert.include(refused.message, "ssh-keygen -y")
    })
  )

  it.effect("is made after a start that was killed between the halves", () =>
    Effect.gen(function* () {
      const directory = yield* temporary
      fs.writeFileSync(path.join(directory, "ssh_host_ed25519_key.pub"), "ssh-ed25519 half\n")
      fs.writeFileSync(path.join(directory, "ssh_host_ed25519_key.new"), "half")

      const { hostKey } = yield* Identity.prepare(directory)

      assert.include(hostKey, "OPENSSH PRIVATE KEY")
    })
  )
})
