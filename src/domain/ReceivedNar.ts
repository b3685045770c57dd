/**
 * A NAR that has been read, checked and written, but that nobody has been told of yet.
 *
 * It belongs to the scope it was received in, and is gone with it unless it is registered first.
 */
import type { Listing } from "../protocol/nar/Listing.ts"
import type { Algorithm, Sha256 } from "../protocol/nix/Hash.ts"

export interface ReceivedNar {
  readonly narHash: Sha256
  /** Bytes. */
  readonly narSize: number
  readonly listing: Listing
  /** Which of the candidates' hash parts occur in it. */
  readonly found: ReadonlySet<string>
  /** The digest that was asked for, lower-case hex; null if none was, or a flat one of what is no regular file. */
  readonly digest: string | null
  /** With `modulo`: the same without the offsets, as Nix 2.17 to 2.34 computed it. Null otherwise. */
  readonly digestWithoutOffsets: string | null
}

/** What to look for while the bytes go by. */
export interface Watch {
  /** Hash parts (32 characters) of the paths that may be referred to. */
  readonly candidates?: Iterable<string>
  /** A further digest: of the NAR, or of the contents of the one regular file that it is. */
  readonly digest?: {
    readonly of: "nar" | "flat"
    readonly algorithm: Algorithm
    /** The path's own hash part: its occurrences count as zeros, and their offsets are hashed after. */
    readonly modulo?: string
  }
}
