/**
 * Signatures of store objects: Ed25519, with the key's name before a colon.
 *
 *   cache.example.org-1:<base 64 of 64 bytes>     a signature, or a secret key: its seed, then the public key
 *   cache.example.org-1:<base 64 of 32 bytes>     a public key
 *
 * What is signed is a fingerprint: the path, its contents and what it refers to, but not where it came from.
 *
 * @see Nix `src/libutil/signature/local-keys.cc`
 */
import { Schema } from "effect"
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto"
import { WireError } from "../wire/Codec.ts"
import * as Hash from "./Hash.ts"
import type { PathInfo } from "./PathInfo.ts"
import * as Store from "./StorePath.ts"

/** A signature as it travels. No white space: it stands on a line of its own in a narinfo. */
export const SignatureText = Schema.String.check(Schema.isPattern(/^[!-~]{1,1000}$/))

/** What people call a key; which key is meant, among those that one trusts. */
export const KeyName = Schema.String.check(Schema.isPattern(/^[!-9;-~]{1,200}$/))

export interface SecretKey {
  readonly name: string
  readonly key: KeyObject
  /** 32 bytes. */
  readonly publicBytes: Uint8Array
}

export interface PublicKey {
  readonly name: string
  readonly key: KeyObject
}

/** A new key. The one function here that depends on chance. */
export const generate = (name: string): SecretKey => secretKey(name, generateKeyPairSync("ed25519").privateKey)

/** The line of a secret key file. */
export const printSecretKey = ({ key, name, publicBytes }: SecretKey): string =>
  `${name}:${Buffer.concat([seedOf(key), publicBytes]).toString("base64")}`

export const parseSecretKey = (text: string): SecretKey | WireError => {
  const parsed = split(text.trim(), 64, "a secret key")
  if (parsed instanceof WireError) return parsed
  const { bytes, name } = parsed
  const key = secretKey(
    name,
    createPrivateKey({ key: Buffer.concat([pkcs8, bytes.subarray(0, 32)]), format: "der", type: "pkcs8" })
  )
  return Buffer.from(key.publicBytes).equals(bytes.subarray(32))
    ? key
    : // The text is a secret, so nothing of it is repeated.
      new WireError({ expected: "a secret key and its own public key", found: "another public key" })
}

/** What others put into `trusted-public-keys`. */
export const printPublicKey = ({ name, publicBytes }: SecretKey): string =>
  `${name}:${Buffer.from(publicBytes).toString("base64")}`

export const parsePublicKey = (text: string): PublicKey | WireError => {
  const parsed = split(text.trim(), 32, "a public key")
  if (parsed instanceof WireError) return parsed
  const key = createPublicKey({ key: Buffer.concat([spki, parsed.bytes]), format: "der", type: "spki" })
  return { name: parsed.name, key }
}

/** What is signed of a path. */
export const fingerprint = (info: Pick<PathInfo, "path" | "narHash" | "narSize" | "references">): string => {
  const references = Store.sorted(info.references).map(Store.print).join(",")
  return `1;${Store.print(info.path)};${Hash.printNix32(Hash.sha256(info.narHash))};${info.narSize};${references}`
}

/** A signature of a fingerprint. */
export const signText = ({ key, name }: SecretKey, fingerprint: string): string =>
  `${name}:${sign(null, Buffer.from(fingerprint), key).toString("base64")}`

/** Whether the signature is of this, by one of these keys. A signature that is none is by nobody. */
export const isSignedBy = (keys: Iterable<PublicKey>, fingerprint: string, signature: string): boolean => {
  const parsed = split(signature, 64, "a signature")
  if (parsed instanceof WireError) return false
  for (const { key, name } of keys) {
    if (name === parsed.name && verify(null, Buffer.from(fingerprint), key, parsed.bytes)) return true
  }
  return false
}

// Node takes keys in wrappings only; of Ed25519 these are always the same bytes before the key's own (RFC 8410).
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex")
const spki = Buffer.from("302a300506032b6570032100", "hex")

const seedOf = (key: KeyObject) => key.export({ format: "der", type: "pkcs8" }).subarray(pkcs8.length)

const secretKey = (name: string, key: KeyObject): SecretKey => ({
  name,
  key,
  publicBytes: createPublicKey(key).export({ format: "der", type: "spki" }).subarray(spki.length)
})

const isKeyName = Schema.is(KeyName)

/** Says nothing of what it found: it may be a secret. */
const split = (text: string, size: number, what: string) => {
  const colon = text.indexOf(":")
  const name = text.slice(0, colon)
  const bytes = Buffer.from(text.slice(colon + 1), "base64")
  const isWhole = bytes.length === size && bytes.toString("base64") === text.slice(colon + 1)
  return colon > 0 && isKeyName(name) && isWhole
    ? { name, bytes }
    : new WireError({ expected: `${what}: a name, a colon, base 64 of ${size} bytes`, found: "something else" })
}
