/**
 * Who is at the other end: an Ed25519 key finds its account, and the user name does not matter.
 *
 * Only `ssh-ed25519` keys are looked at. Whether a key belongs to an account is asked of whoever keeps the
 * accounts; whether the client holds its private half is checked here, over what SSH makes it sign. Nor is it decided
 * here how many connections an account may have.
 *
 * @see RFC 4252 § 7, RFC 8709
 */
import { Context, type Effect, type Scope } from "effect"
import * as crypto from "node:crypto"
import type { Account } from "../domain/Account.ts"

export class Authentication extends Context.Service<
  Authentication,
  {
    /** `publicKey` is in SSH's own form: the algorithm's name and the key, each with its length. */
    readonly findByKey: (publicKey: Uint8Array) => Effect.Effect<Account | null>
    /** Lets one more connection of the account in, until the scope closes; or says why not. */
    readonly admit: (account: Account) => Effect.Effect<string | null, never, Scope.Scope>
  }
>()("drover/ssh/Authentication") {}

const algorithm = "ssh-ed25519"

/** The two lengths and the name before the 32 bytes of a key. */
const blobPrefix = Buffer.from([0, 0, 0, algorithm.length, ...Buffer.from(algorithm), 0, 0, 0, 32])

/** The DER of a SubjectPublicKeyInfo up to the key: RFC 8410. */
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex")

/** Whether the bytes are an Ed25519 public key as SSH writes it, and nothing after it. */
export const isEd25519 = (publicKey: Uint8Array): boolean =>
  publicKey.length === blobPrefix.length + 32 && blobPrefix.equals(publicKey.subarray(0, blobPrefix.length))

/** Whether `signature` is the key's over `signed`. False for whatever is not a key or not a signature. */
export const isSignedBy = (publicKey: Uint8Array, signed: Uint8Array, signature: Uint8Array): boolean => {
  if (!isEd25519(publicKey) || signature.length !== 64) return false
  const key = crypto.createPublicKey({
    key: Buffer.concat([spkiPrefix, publicKey.subarray(blobPrefix.length)]),
    format: "der",
    type: "spki"
  })
  return crypto.verify(null, signed, key, signature)
}

/** As `ssh-keygen -l` prints it: what may be logged of a key. */
export const fingerprint = (publicKey: Uint8Array): string =>
  `SHA256:${crypto.createHash("sha256").update(publicKey).digest("base64").replace(/=+$/, "")}`
