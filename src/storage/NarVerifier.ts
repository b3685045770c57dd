/**
 * Reads one NAR as its bytes go by, and then says everything that is asked of it: hash, size, listing, references.
 *
 * It is driven like the reader that it is built around, and throws what that throws. The bytes are its for the call.
 */
import { createHash } from "node:crypto"
import type { ReceivedNar, Watch } from "../domain/ReceivedNar.ts"
import { Lister } from "../protocol/nar/Listing.ts"
import { type FileHead, Reader } from "../protocol/nar/Reader.ts"
import { Sha256 } from "../protocol/nix/Hash.ts"
import { HashModulo } from "../protocol/nix/HashModulo.ts"
import { Scanner } from "../protocol/nix/References.ts"
import { WireError } from "../protocol/wire/Codec.ts"

/** What is left of a further digest once all its bytes have been seen. */
interface Digest {
  readonly push: (bytes: Uint8Array) => void
  readonly result: () => Pick<ReceivedNar, "digest" | "digestWithoutOffsets">
}

export class NarVerifier {
  readonly #reader: Reader
  readonly #lister = new Lister()
  readonly #hash = createHash("sha256")
  readonly #scanner: Scanner | null
  readonly #sizeMax: number
  readonly #digest: Digest | null
  readonly #isFlat: boolean

  constructor({ candidates, digest, sizeMax = Number.MAX_SAFE_INTEGER }: Watch & { readonly sizeMax?: number }) {
    this.#scanner = candidates === undefined ? null : new Scanner(candidates)
    this.#sizeMax = sizeMax
    this.#digest = digest === undefined ? null : digestOf(digest)
    this.#isFlat = digest?.of === "flat"
    const lister = this.#lister
    const flat = this.#isFlat ? this.#digest : null
    this.#reader = new Reader({
      directory: (name) => lister.directory(name),
      directoryEnd: () => lister.directoryEnd(),
      file: (name, head: FileHead) => {
        // Before a byte of it is taken: what has holes in it is as large as anybody cares to say.
        this.#bound(head.narOffset + head.size)
        lister.file(name, head)
      },
      symlink: (name, target) => lister.symlink(name, target),
      // Of anything but a single file the result is not asked for, so what goes in does not matter.
      contents: (bytes) => flat?.push(bytes)
    })
  }

  get done(): boolean {
    return this.#reader.done
  }

  /** Bytes read so far. */
  get size(): number {
    return this.#reader.size
  }

  /** Returns how many bytes belong to the NAR: fewer than there are only when it has ended. No bytes mean the end. */
  push(chunk: Uint8Array): number {
    if (chunk.length === 0) this.#reader.end()
    const used = this.#reader.push(chunk)
    this.#bound(this.size)
    const bytes = used === chunk.length ? chunk : chunk.subarray(0, used)
    this.#hash.update(bytes)
    this.#scanner?.push(bytes)
    if (!this.#isFlat) this.#digest?.push(bytes)
    return used
  }

  #bound(size: number): void {
    if (size > this.#sizeMax) {
      throw new WireError({ expected: `a NAR of at most ${this.#sizeMax} bytes`, found: "a larger one" })
    }
  }

  /** To be called once, when it is done. */
  result(): ReceivedNar {
    const { listing } = this.#lister
    if (!this.done || listing === null) throw new Error("a NAR's result was asked for before its end")
    const isDigested = this.#digest !== null && (!this.#isFlat || listing.type === "regular")
    return {
      narHash: Sha256.make(this.#hash.digest("hex")),
      narSize: this.size,
      listing,
      found: this.#scanner?.found ?? new Set(),
      ...(isDigested ? this.#digest.result() : { digest: null, digestWithoutOffsets: null })
    }
  }
}

const digestOf = ({ algorithm, modulo }: NonNullable<Watch["digest"]>): Digest => {
  if (modulo === undefined) {
    const hash = createHash(algorithm)
    return {
      push: (bytes) => hash.update(bytes),
      result: () => ({ digest: hash.digest("hex"), digestWithoutOffsets: null })
    }
  }
  const hash = new HashModulo(algorithm, modulo)
  return {
    push: (bytes) => hash.push(bytes),
    result: () => {
      const { withOffsets, withoutOffsets } = hash.digests()
      return { digest: withOffsets, digestWithoutOffsets: withoutOffsets }
    }
  }
}
