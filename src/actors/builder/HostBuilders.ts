/**
 * The builders of one host: what the pool is made of. This machine is one; a test's are others.
 */
import type { Effect, Scope } from "effect"
import type { Host } from "../../domain/Host.ts"
import type { Assignment, BuilderLost, BuildFailed, Finished, Kind } from "./BuilderPool.ts"

/** What a probe takes of its host, beside its sandbox's own: a core and the least that a machine starts with. */
export const probeNeed = { cores: 1, memoryBytes: 256 * 2 ** 20 } as const

export interface HostBuilders {
  readonly host: Host
  /** What a build of one of its systems runs in. */
  readonly kindOf: (system: string) => Kind
  readonly epoch: number
  /** Runs a builder to its end on what the scheduler has lent of the host; see `BuilderPool`. */
  readonly run: (
    assignment: Assignment,
    log: (bytes: Uint8Array) => Effect.Effect<void>
  ) => Effect.Effect<Finished, BuildFailed | BuilderLost, Scope.Scope>
  /** A sandbox of `probeNeed` started, a builder run in it, and all of it gone again: whether the host can do that. */
  readonly probe: Effect.Effect<void, BuilderLost>
}
