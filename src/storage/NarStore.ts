/**
 * NARs by hash: verified on the way in, whole and durable before anyone is told of them.
 *
 * `receive` reads exactly one NAR from a source, which may go on after it. What it returns belongs to the caller's
 * scope; `commit` makes a group of them durable and permanent. Committing one that is known already is free.
 */
import { Context, type Effect, type Scope } from "effect"
import type { ReceivedNar, Watch } from "../domain/ReceivedNar.ts"
import type { Listing } from "../protocol/nar/Listing.ts"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { WireError } from "../protocol/wire/Codec.ts"
import type { Source } from "../protocol/wire/Source.ts"
import type { StorageError } from "./StorageError.ts"

export class NarStore extends Context.Service<
  NarStore,
  {
    /** Fails with `WireError` where the bytes are no NAR. `sizeMax`: bytes. */
    readonly receive: <E, R>(
      source: Source<E, R>,
      options?: Watch & { readonly sizeMax?: number }
    ) => Effect.Effect<ReceivedNar, E | WireError | StorageError, R | Scope.Scope>
    /** The bytes of one that was received and may not be committed yet. */
    readonly reread: (nar: ReceivedNar) => Effect.Effect<Source<StorageError>, StorageError, Scope.Scope>
    readonly commit: (nars: ReadonlyArray<ReceivedNar>) => Effect.Effect<void, StorageError>
    readonly open: (narHash: Sha256) => Effect.Effect<Source<StorageError>, StorageError, Scope.Scope>
    readonly listing: (narHash: Sha256) => Effect.Effect<Listing, StorageError>
  }
>()("drover/storage/NarStore") {}
