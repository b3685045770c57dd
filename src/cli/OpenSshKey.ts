/**
 * Ed25519 keys in OpenSSH's own forms, made without its programs.
 *
 *     private   "openssh-key-v1\0" cipher kdf kdfoptions u32(1) public private, in PEM
 *     public    "ssh-ed25519" base64(blob) comment, on a line
 *     blob      string("ssh-ed25519") string(32 bytes)
 *
 * Private keys are written without a passphrase: whoever may read the file may use the key.
 *
 * @see OpenSSH `PROTOCOL.key`; RFC 8709
 */
import { Effect, Schema } from "effect"
import * as crypto from "node:crypto"
import { isEd25519 } from "../ssh/Authentication.ts"

export interface OpenSshKey {
  /** The private key's file. */
  readonly privateKey: string
  /** As SSH sends it. */
  readonly publicKey: Uint8Array
}

/** Bytes that are no public key's line. */
export class PublicKeyRefused extends Schema.TaggedError<PublicKeyRefused>()("PublicKeyRefused", {
  found: Schema.String
}) {
  override get message() {
    return `expected a line "ssh-ed25519 AAAA… comment", found ${this.found}`
  }
}

const algorithm = "ssh-ed25519"

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const string = (value: string | Uint8Array) => {
  const bytes = Buffer.from(value)
  return Buffer.concat([u32(bytes.length), bytes])
}

const blob = (publicKey: Uint8Array) => Buffer.concat([string(algorithm), string(publicKey)])

/** `check` is a random number that stands there twice: how a reader knows that it decrypted. */
export const print = (seed: Uint8Array, publicKey: Uint8Array, comment: string, check: number): string => {
  const key = Buffer.concat([
    u32(check),
    u32(check),
    blob(publicKey),
    string(Buffer.concat([seed, publicKey])),
    string(comment)
  ])
  // To a multiple of the cipher's block, which without a cipher is 8.
  const padding = Buffer.from(Array.from({ length: (8 - (key.length % 8)) % 8 }, (_, index) => index + 1))
  const whole = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    string("none"),
    string("none"),
    string(""),
    u32(1),
    string(blob(publicKey)),
    string(Buffer.concat([key, padding]))
  ])
  const lines = whole.toString("base64").match(/.{1,70}/g) ?? []
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join("\n")}\n-----END OPENSSH PRIVATE KEY-----\n`
}

/** The 32 bytes that a new key is made from, and its public half. */
export const generateRaw = Effect.sync(() => {
  const { d, x } = crypto.generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" })
  return { seed: Buffer.from(d ?? "", "base64url"), publicKey: Buffer.from(x ?? "", "base64url") }
})

export const generate = (comment: string): Effect.Effect<OpenSshKey> =>
  Effect.map(generateRaw, ({ publicKey, seed }) => ({
    privateKey: print(seed, publicKey, comment, crypto.randomInt(2 ** 32)),
    publicKey: blob(publicKey)
  }))

/** The line of a `.pub` file. */
export const printPublic = (publicKey: Uint8Array, comment: string): string =>
  `${algorithm} ${Buffer.from(publicKey).toString("base64")} ${comment}`

const excerpt = (text: string) => (text.length <= 40 ? JSON.stringify(text) : `${JSON.stringify(text.slice(0, 40))}…`)

/** Reads the line of a `.pub` file. Of a private key that stands there by mistake, nothing is repeated. */
export const parsePublic = Effect.fnUntraced(function* (text: string) {
  const line = text.trim()
  if (line.includes("PRIVATE KEY"))
    return yield* new PublicKeyRefused({ found: "a private key: it belongs to nobody else" })
  const [type, key, ...comment] = line.split(/[ \t]+/)
  if (line.includes("\n") || type !== algorithm || key === undefined) {
    return yield* new PublicKeyRefused({ found: excerpt(line) })
  }
  const publicKey = new Uint8Array(Buffer.from(key, "base64"))
  if (!isEd25519(publicKey)) return yield* new PublicKeyRefused({ found: excerpt(line) })
  return { publicKey, comment: comment.join(" ") }
})
