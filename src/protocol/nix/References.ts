/**
 * Finds which store paths some contents refer to: those whose hash part occurs in them, anywhere.
 *
 * A hash part is 32 characters, so a window of 32 bytes moves over the contents. It is read from its end: at the first
 * byte that is no nixbase32 the window jumps past it, and most bytes of most files are never looked at. No byte is
 * looked at twice, whatever is in the file, so nobody can make it slow.
 *
 * @see Nix `src/libstore/references.cc`
 */
import * as Base32 from "./Base32.ts"
import { hashPartLength } from "./StorePath.ts"

export class Scanner {
  /** Hash parts of the candidates that have occurred so far. */
  readonly found = new Set<string>()
  readonly #missing: Set<string>
  /** By the last three characters of a candidate, and by its first three: say no to nearly all that is none. */
  readonly #lasts = new Uint8Array(2 ** 15)
  readonly #firsts = new Uint8Array(2 ** 15)
  /** The last bytes of what came before, in which a hash part may have begun, then the first ones of the next chunk. */
  readonly #seam = new Uint8Array(2 * (hashPartLength - 1))
  #kept = 0

  /** `candidates`: hash parts, of 32 characters each. */
  constructor(candidates: Iterable<string>) {
    this.#missing = new Set(candidates)
    for (const candidate of this.#missing) {
      const bytes = Buffer.from(candidate)
      this.#lasts[sieveIndex(bytes, hashPartLength)] = 1
      this.#firsts[sieveIndex(bytes, 3)] = 1
    }
  }

  push(chunk: Uint8Array): void {
    if (this.#missing.size === 0) return
    const head = chunk.subarray(0, hashPartLength - 1)
    this.#seam.set(head, this.#kept)
    const seam = this.#seam.subarray(0, this.#kept + head.length)
    this.#scan(seam)
    this.#scan(chunk)

    const last = head.length < hashPartLength - 1 ? seam : chunk
    this.#kept = Math.min(last.length, hashPartLength - 1)
    this.#seam.set(last.subarray(last.length - this.#kept))
  }

  #scan(bytes: Uint8Array): void {
    let start = 0
    // The window's bytes before this one have been seen, and are nixbase32.
    let unseen = 0
    while (start + hashPartLength <= bytes.length) {
      const end = start + hashPartLength
      let index = end - 1
      while (index >= unseen && valueAt(bytes, index) !== none) index--
      start = index >= unseen ? index + 1 : this.#slide(bytes, end)
      unseen = Math.max(start, end)
    }
  }

  /** Looks at the window that ends there and those after it, up to a byte that is no nixbase32; returns what is past it. */
  #slide(bytes: Uint8Array, first: number): number {
    let end = first
    let sieved = sieveIndex(bytes, end)
    for (;;) {
      if (this.#lasts[sieved] === 1) this.#check(bytes, end)
      const value = end < bytes.length ? valueAt(bytes, end) : none
      if (value === none) return end + 1
      sieved = (value << 10) | (sieved >> 5)
      end += 1
    }
  }

  #check(bytes: Uint8Array, end: number): void {
    const start = end - hashPartLength
    if (this.#firsts[sieveIndex(bytes, start + 3)] !== 1) return
    const hashPart = Buffer.from(bytes.subarray(start, end)).toString("latin1")
    if (this.#missing.delete(hashPart)) this.found.add(hashPart)
  }
}

const none = 255

/** What each byte is worth as a nixbase32 character. */
const values = new Uint8Array(256).fill(none)
for (let value = 0; value < Base32.alphabet.length; value++) values[Base32.alphabet.charCodeAt(value)] = value

const valueAt = (bytes: Uint8Array, index: number): number => values[bytes[index] ?? 0] ?? none

const sieveIndex = (bytes: Uint8Array, end: number): number =>
  (valueAt(bytes, end - 1) << 10) | (valueAt(bytes, end - 2) << 5) | valueAt(bytes, end - 3)
