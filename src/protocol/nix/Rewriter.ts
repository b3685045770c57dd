/**
 * Replaces one hash part by another in contents that go by, wherever chunks begin and end.
 *
 * Occurrences are taken from left to right and do not overlap. What has been put in is not looked at again.
 *
 * @see Nix `src/libstore/references.cc`, `RewritingSink`
 */
import { WireError } from "../wire/Codec.ts"
import { hashPartLength } from "./StorePath.ts"

/** Occurrences in one stream: their offsets are held in memory. */
export const occurrencesMax = 1_000_000

export class Rewriter {
  /** Where the hash part occurred, in bytes from the beginning; in order. */
  readonly offsets: Array<number> = []
  readonly #from: Buffer
  readonly #to: Uint8Array
  readonly #sink: (chunk: Uint8Array) => void
  /** Fewer bytes than a hash part, with which one may begin. */
  #kept: Uint8Array = new Uint8Array(0)
  /** Offset of the first of them. */
  #position = 0

  /** `to` has the length of a hash part, as `from`. `sink` is given chunks that are its own. */
  constructor(from: string, to: string | Uint8Array, sink: (chunk: Uint8Array) => void) {
    this.#from = Buffer.from(from)
    this.#to = typeof to === "string" ? Buffer.from(to) : to
    if (this.#from.length !== hashPartLength || this.#to.length !== hashPartLength) {
      throw new WireError({ expected: `hash parts of ${hashPartLength} characters`, found: JSON.stringify(from) })
    }
    this.#sink = sink
  }

  push(chunk: Uint8Array): void {
    // A copy, which may be written to and outlives the chunk.
    const bytes = Buffer.concat([this.#kept, chunk])
    let end = 0
    for (let at = bytes.indexOf(this.#from); at >= 0; at = bytes.indexOf(this.#from, end)) {
      if (this.offsets.length === occurrencesMax) {
        throw new WireError({ expected: `at most ${occurrencesMax} references to itself`, found: "more" })
      }
      this.offsets.push(this.#position + at)
      bytes.set(this.#to, at)
      end = at + hashPartLength
    }
    const settled = Math.max(end, bytes.length - hashPartLength + 1, 0)
    this.#kept = bytes.subarray(settled)
    this.#position += settled
    if (settled > 0) this.#sink(bytes.subarray(0, settled))
  }

  /** Gives what was held back. */
  end(): void {
    if (this.#kept.length > 0) this.#sink(this.#kept)
    this.#position += this.#kept.length
    this.#kept = new Uint8Array(0)
  }
}
