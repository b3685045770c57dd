/**
 * Hashes as Nix means them: an algorithm and a digest, and the spellings of both.
 *
 *   sha256:9f86d0…             base 16, base 32 or base 64, told apart by length
 *   sha256-n4bQgYhMfWWaL+…=    SRI, always base 64
 *   9f86d0…                    bare, where the algorithm is known from elsewhere
 *
 * Digests are held as lower-case hex: it compares, prints and stores.
 *
 * @see Nix `src/libutil/hash.cc`
 */
import { Schema } from "effect"
import { createHash } from "node:crypto"
import { WireError } from "../wire/Codec.ts"
import * as Base32 from "./Base32.ts"

/** A SHA-256 digest as 64 lower-case hex digits: how this house holds the hash of a NAR. */
export const Sha256 = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)).pipe(Schema.brand("Sha256"))
export type Sha256 = typeof Sha256.Type

export const Algorithm = Schema.Literals(["md5", "sha1", "sha256", "sha512"])
export type Algorithm = typeof Algorithm.Type

/** Bytes of a digest. */
export const sizes: { readonly [A in Algorithm]: number } = { md5: 16, sha1: 20, sha256: 32, sha512: 64 }

export interface Hash {
  readonly algorithm: Algorithm
  /** Lower-case hex, two digits for each byte of the digest. */
  readonly hex: string
}

const isAlgorithm = Schema.is(Algorithm)
const isSha256 = Schema.is(Sha256)

export const parseAlgorithm = (text: string): Algorithm | WireError =>
  isAlgorithm(text) ? text : new WireError({ expected: "md5, sha1, sha256 or sha512", found: shown(text) })

/** Any spelling that names its algorithm. */
export const parse = (text: string): Hash | WireError => {
  const [, name, separator, rest] = /^([a-z0-9]+)([:-])([^]*)$/.exec(text) ?? []
  if (name === undefined || rest === undefined) {
    return new WireError({ expected: "a hash with its algorithm", found: shown(text) })
  }
  const algorithm = parseAlgorithm(name)
  if (algorithm instanceof WireError) return algorithm
  if (separator === "-" && rest.length !== base64Length(algorithm)) {
    return new WireError({ expected: `base 64 of ${sizes[algorithm]} bytes`, found: shown(rest) })
  }
  return bare(algorithm, rest)
}

/** Any spelling; where it names an algorithm, it must be this one. */
export const parseAs = (algorithm: Algorithm, text: string): Hash | WireError => {
  if (!text.startsWith(`${algorithm}:`) && !text.startsWith(`${algorithm}-`)) return bare(algorithm, text)
  return parse(text)
}

/** As `parseAs`, for SHA-256, as the value that path infos hold. */
export const parseSha256 = (text: string): Sha256 | WireError => {
  const hash = parseAs("sha256", text)
  if (hash instanceof WireError) return hash
  return isSha256(hash.hex) ? hash.hex : new WireError({ expected: "64 hex digits", found: shown(text) })
}

/** `sha256:` and hex. */
export const printBase16 = ({ algorithm, hex }: Hash): string => `${algorithm}:${hex}`

/** `sha256:` and nixbase32, as in a narinfo. */
export const printNix32 = ({ algorithm, hex }: Hash): string => `${algorithm}:${Base32.encode(Buffer.from(hex, "hex"))}`

/** `sha256-` and base 64, as in messages to people. */
export const printSri = ({ algorithm, hex }: Hash): string =>
  `${algorithm}-${Buffer.from(hex, "hex").toString("base64")}`

export const sha256 = (hex: Sha256): Hash => ({ algorithm: "sha256", hex })

/** The digest of bytes that are all there; text counts as UTF-8. */
export const digest = (algorithm: Algorithm, contents: Uint8Array | string): string =>
  createHash(algorithm).update(contents).digest("hex")

export const digestSha256 = (contents: Uint8Array | string): Sha256 =>
  Sha256.make(createHash("sha256").update(contents).digest("hex"))

/** Folds a digest to fewer bytes, each being the exclusive or of every so many: what store paths are made of. */
export const compress = (bytes: Uint8Array, size: number): Uint8Array => {
  const folded = new Uint8Array(size)
  bytes.forEach((byte, index) => {
    folded[index % size] = (folded[index % size] ?? 0) ^ byte
  })
  return folded
}

const base64Length = (algorithm: Algorithm) => Math.ceil(sizes[algorithm] / 3) * 4

/** The three notations have three lengths, for each algorithm. */
const bare = (algorithm: Algorithm, text: string): Hash | WireError => {
  const size = sizes[algorithm]
  // Made only where it is said: an error looks at the whole stack, which is most of what reading a hash would cost.
  const wrong = () => new WireError({ expected: `a ${algorithm} hash in base 16, 32 or 64`, found: shown(text) })
  switch (text.length) {
    case size * 2:
      return /^[0-9a-fA-F]*$/.test(text) ? { algorithm, hex: text.toLowerCase() } : wrong()
    case Base32.lengthOf(size): {
      const bytes = Base32.decode(text)
      return bytes instanceof WireError ? bytes : { algorithm, hex: Buffer.from(bytes).toString("hex") }
    }
    case base64Length(algorithm): {
      // Node passes over what is no base 64; only what it writes itself is taken.
      const bytes = Buffer.from(text, "base64")
      return bytes.toString("base64") === text ? { algorithm, hex: bytes.toString("hex") } : wrong()
    }
    default:
      return wrong()
  }
}

/** A peer's text, cut to what an error message can hold. */
const shown = (text: string) => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
