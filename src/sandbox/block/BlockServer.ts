/**
 * Closures as block devices: one read-only disk for each virtual machine, which holds the store paths that its build
 * may see and no other. The disk's file system (EROFS) has the store directory as its root.
 */
import { Context, type Effect, type Scope } from "effect"
import type { Sha256 } from "../../protocol/nix/Hash.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import type { SandboxError } from "../SandboxError.ts"

export interface Served {
  readonly sizeBytes: number
  /** The store paths of which any file was read so far. */
  readonly readLog: Effect.Effect<ReadonlyArray<StorePath>, SandboxError>
  /** Never succeeds; fails once the disk can no longer be read, because what serves it has died. */
  readonly lost: Effect.Effect<never, SandboxError>
}

export class BlockServer extends Context.Service<
  BlockServer,
  {
    /**
     * Serves the closure by NBD, under the empty export name, on a Unix socket that is made at this path, while the
     * scope is open. One client is let in, and the socket's file goes when it has come.
     */
    readonly serve: (
      closure: ReadonlyArray<{ readonly path: StorePath; readonly narHash: Sha256 }>,
      socketPath: string
    ) => Effect.Effect<Served, SandboxError, Scope.Scope>
  }
>()("drover/sandbox/BlockServer") {}
