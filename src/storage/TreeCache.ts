/**
 * Unpacked store objects for the `process` backend, made from NARs when first wanted.
 *
 * A tree bears Nix's canonical metadata (mtime 1, modes 0444 and 0555). It is pinned by the scope that asked for it;
 * trees that nobody pins are removed, least recently used first, once together they exceed the budget.
 */
import { Context, type Effect, type Scope } from "effect"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { StorageError } from "./StorageError.ts"

export class TreeCache extends Context.Service<
  TreeCache,
  {
    /** Absolute paths, one for each hash, in its order. */
    readonly checkout: (
      narHashes: ReadonlyArray<Sha256>
    ) => Effect.Effect<ReadonlyArray<string>, StorageError, Scope.Scope>
  }
>()("drover/storage/TreeCache") {}
