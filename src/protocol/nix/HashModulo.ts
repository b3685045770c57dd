/**
 * Hashes contents as if they did not know their own path: how something that refers to itself gets an address.
 *
 * Occurrences of the path's hash part count as zeros, and where they were is hashed after everything else, as the
 * texts `|<offset>`. Without the latter a file and the same with the hash part replaced by zeros would be one.
 *
 * Nix 2.17 to 2.34 forgot the offsets, so that there are two families of addresses. Both are right as long as there
 * is no self-reference; an upload may have either.
 *
 * @see Nix `src/libstore/references.cc`, `HashModuloSink`
 */
import { createHash } from "node:crypto"
import type { Algorithm } from "./Hash.ts"
import { Rewriter } from "./Rewriter.ts"
import { hashPartLength } from "./StorePath.ts"

export interface Digests {
  /** As Nix up to 2.16 and since 2.35. Lower-case hex. */
  readonly withOffsets: string
  /** As Nix 2.17 to 2.34. */
  readonly withoutOffsets: string
}

export class HashModulo {
  readonly #hash
  readonly #rewriter: Rewriter

  constructor(algorithm: Algorithm, hashPart: string) {
    this.#hash = createHash(algorithm)
    this.#rewriter = new Rewriter(hashPart, new Uint8Array(hashPartLength), (chunk) => this.#hash.update(chunk))
  }

  push(chunk: Uint8Array): void {
    this.#rewriter.push(chunk)
  }

  /** To be called once, at the end. */
  digests(): Digests {
    this.#rewriter.end()
    const withoutOffsets = this.#hash.copy().digest("hex")
    for (const offset of this.#rewriter.offsets) this.#hash.update(`|${offset}`)
    return { withOffsets: this.#hash.digest("hex"), withoutOffsets }
  }
}
