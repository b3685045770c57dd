/** What a sandbox needs from whoever holds the store: the contents of a build's inputs. */
import { Context, type Effect, type Scope } from "effect"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { SandboxError } from "./SandboxError.ts"

/** A NAR as it is kept, and what is in it. Nothing is unpacked for it. */
export interface StoredNar {
  readonly narHash: Sha256
  /** Its listing as it is kept: the text of an `.ls` file, deflated. Whoever needs it unpacks it, in their own time. */
  readonly listing: Uint8Array
  readonly contents:
    | { readonly _tag: "File"; readonly path: string }
    | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
}

export class ClosureSource extends Context.Service<
  ClosureSource,
  {
    /** Unpacked trees, absolute paths in the order asked; they stay while the scope is open. */
    readonly trees: (
      narHashes: ReadonlyArray<Sha256>
    ) => Effect.Effect<ReadonlyArray<string>, SandboxError, Scope.Scope>
    /** One for each hash, in the order asked. */
    readonly nars: (narHashes: ReadonlyArray<Sha256>) => Effect.Effect<ReadonlyArray<StoredNar>, SandboxError>
  }
>()("drover/sandbox/ClosureSource") {}
