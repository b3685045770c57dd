/**
 * Bytes by the hash of what they are: get, put, has, delete. Knows nothing of what is in them.
 *
 * Bytes are first written to a draft, whose name they get only once they are whole and their hash is known. What has
 * been put is durable, and what a crash leaves half done is either whole or not there.
 */
import { Context, type Effect, type Scope, type Stream } from "effect"
import type { Sha256 } from "../../protocol/nix/Hash.ts"
import type { Source } from "../../protocol/wire/Source.ts"
import type { StorageError } from "../StorageError.ts"

/** Bytes that have no name yet. Gone with the scope it was made in, unless it was put. */
export interface Draft {
  /** Copies as many of the bytes as there is room for, and says how many. */
  readonly take: (bytes: Uint8Array) => number
  /** Makes room. */
  readonly flush: Effect.Effect<void, StorageError>
  /** There are no more bytes: nothing can be taken after it, and nothing read or put before. */
  readonly end: Effect.Effect<void, StorageError>
  /** From the first byte, as often as one likes, also once it was put. */
  readonly read: Effect.Effect<Source<StorageError>, StorageError, Scope.Scope>
}

export interface Blob {
  /** Bytes. */
  readonly size: number
  readonly source: Source<StorageError>
}

export class BlobStore extends Context.Service<
  BlobStore,
  {
    readonly draft: Effect.Effect<Draft, StorageError, Scope.Scope>
    /** Makes drafts of this store durable under their keys. Putting what is there already changes nothing. */
    readonly put: (
      drafts: ReadonlyArray<{ readonly draft: Draft; readonly key: Sha256 }>
    ) => Effect.Effect<void, StorageError>
    /** Fails with `MissingNar` if there is none. */
    readonly get: (key: Sha256) => Effect.Effect<Blob, StorageError, Scope.Scope>
    readonly has: (key: Sha256) => Effect.Effect<boolean, StorageError>
    /** An absolute path of a file that holds the blob, for another process to read; there is one if the blob is. */
    readonly file: (key: Sha256) => Effect.Effect<string, StorageError>
    /** Deleting what is not there changes nothing. */
    readonly delete: (key: Sha256) => Effect.Effect<void, StorageError>
    /** Every key, in no order. */
    readonly keys: Stream.Stream<Sha256, StorageError>
  }
>()("drover/storage/BlobStore") {}
