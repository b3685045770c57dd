/**
 * What a content-addressed path is the address of: contents hashed in one of four ways.
 *
 *   text:sha256:<nixbase32>       the bytes of a file that may refer to paths: derivations, `builtins.toFile`
 *   fixed:sha256:<nixbase32>      the bytes of a file
 *   fixed:r:sha256:<nixbase32>    a NAR, without what it knows of itself (`HashModulo.ts`)
 *   fixed:git:sha1:<nixbase32>    a Git object
 *
 * From it, the name and the references follows the path, so that whoever has the contents can check it, and nobody
 * need be believed.
 *
 * @see Nix `src/libstore/content-address.cc`
 */
import { Schema } from "effect"
import { WireError } from "../wire/Codec.ts"
import { type Method, parseMethod, printMethod } from "./Derivation.ts"
import * as Hash from "./Hash.ts"
import * as Store from "./StorePath.ts"
import type { StorePath } from "./StorePath.ts"

export interface ContentAddress {
  readonly method: Method
  readonly hash: Hash.Hash
}

/** What content-addressed contents refer to. */
export interface References {
  /** In any order, without the path itself. */
  readonly others: ReadonlyArray<StorePath>
  /** Whether they refer to the path that they are going to have. */
  readonly self: boolean
}

const isSha256 = Schema.is(Hash.Sha256)

export const none: References = { others: [], self: false }

export const print = ({ hash, method }: ContentAddress): string => {
  const [, digest] = Hash.printNix32(hash).split(":")
  const spelled = printMethod(method, hash.algorithm)
  return method === "text" ? `${spelled}:${digest}` : `fixed:${spelled}:${digest}`
}

export const parse = (text: string): ContentAddress | WireError => {
  const [, fixed, spelled, digest] = /^(fixed:)?((?:r:|git:|text:)?[a-z0-9]+):([0-9a-z]+)$/.exec(text) ?? []
  if (spelled === undefined || digest === undefined) return refused(text)
  const address = parseMethod(spelled)
  if (address instanceof WireError) return address
  if ((address.method === "text") === (fixed !== undefined)) return refused(text)
  const hash = Hash.parseAs(address.algorithm, digest)
  if (hash instanceof WireError) return hash
  const parsed = { method: address.method, hash }
  // There are other notations for a hash; this one is written in nixbase32.
  return print(parsed) === text ? parsed : refused(text)
}

/** The store path by a content address. Only texts and NARs by SHA-256 may refer to anything. */
export const storePath = (name: string, address: ContentAddress, references: References): StorePath | WireError => {
  const { hash, method } = address
  const others = Store.sorted(references.others)
    .map((path) => `:${Store.print(path)}`)
    .join("")
  const digest = hash.algorithm === "sha256" && isSha256(hash.hex) ? hash.hex : null
  if (method === "text") {
    if (digest === null || references.self) {
      return new WireError({ expected: "a text by sha256 that does not refer to itself", found: print(address) })
    }
    return Store.make(`text${others}`, digest, name)
  }
  if (method === "nar" && digest !== null) {
    return Store.make(`source${others}${references.self ? ":self" : ""}`, digest, name)
  }
  if (others !== "" || references.self) {
    return new WireError({ expected: "no references", found: `some, of a path by ${print(address)}` })
  }
  const inner = Hash.digestSha256(`fixed:out:${printMethod(method, hash.algorithm)}:${hash.hex}:`)
  return Store.make("output:out", inner, name)
}

/** The path of a text: its name, the hash of its bytes, and what it refers to. */
export const textPath = (
  name: string,
  contents: Uint8Array,
  references: Iterable<StorePath>
): StorePath | WireError => {
  const hash = Hash.sha256(Hash.digestSha256(contents))
  return storePath(name, { method: "text", hash }, { others: [...references], self: false })
}

const refused = (text: string) =>
  new WireError({ expected: "a content address", found: JSON.stringify(text.slice(0, 200)) })
