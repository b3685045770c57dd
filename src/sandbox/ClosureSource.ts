/** What a sandbox needs from whoever holds the store: the contents of a build's inputs. */
import { Context, type Effect, type Scope } from "effect"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { SandboxError } from "./SandboxError.ts"

export class ClosureSource extends Context.Service<
  ClosureSource,
  {
    /** Unpacked trees, absolute paths in the order asked; they stay while the scope is open. */
    readonly trees: (
      narHashes: ReadonlyArray<Sha256>
    ) => Effect.Effect<ReadonlyArray<string>, SandboxError, Scope.Scope>
  }
>()("drover/sandbox/ClosureSource") {}
