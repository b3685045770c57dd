/**
 * The builders of this service: a sandbox for each attempt, on the hosts that there are.
 *
 * What a build needs of whoever runs it, and no more; the scheduler has lent the room beforehand.
 */
import { Context, type Effect, Schema, type Scope } from "effect"
import type { AccountId } from "../../domain/Account.ts"
import { type AttemptId, type Backend, Usage } from "../../domain/Attempt.ts"
import { Failure } from "../../domain/Failure.ts"
import type { Host, HostId } from "../../domain/Host.ts"
import type { Lease } from "../../domain/Lease.ts"
import type { BasicDerivation } from "../../protocol/nix/Derivation.ts"
import { PathInfo } from "../../protocol/nix/PathInfo.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import type { StorageError } from "../../storage/StorageError.ts"

/** The build's own failure: an answer, unless it only had too little memory. */
export class BuildFailed extends Schema.TaggedError<BuildFailed>()("BuildFailed", {
  failure: Failure,
  /** Left out where no builder ran. */
  usage: Schema.optionalKey(Usage)
}) {
  override get message() {
    return this.failure.message
  }
}

/**
 * Ours: the builder is lost, and the build may be tried again.
 *
 * `host`: no sandbox was to be had, which nothing in a build can bring about. `sandbox`: it was lost with the build in
 * it, which may have been the build's own doing. `service`: what it was to see could not be had, or what it had done
 * could not be kept. `memory`: the machine probably killed it for want of memory, and cannot tell for certain.
 */
export class BuilderLost extends Schema.TaggedError<BuilderLost>()("BuilderLost", {
  fault: Schema.Literals(["host", "sandbox", "service", "memory"]),
  detail: Schema.String,
  cause: Schema.optionalKey(Schema.Unknown)
}) {
  override get message() {
    return this.detail
  }
}

/** One attempt, ready to run. */
export interface Assignment {
  readonly attempt: AttemptId
  /** Who has asked first. */
  readonly account: AccountId
  readonly lease: Lease
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  /** Every path that the build can see, with what it refers to. */
  readonly closure: ReadonlyArray<PathInfo>
}

/** An output that has been read, verified and made durable; no view holds it yet. */
export interface BuiltOutput {
  readonly name: string
  readonly info: PathInfo
  /** Content-addressed and verified, so nobody's word is needed for it. */
  readonly assured: boolean
}

/** An output of this derivation's, as a view takes it in. */
export const builtOutput = (
  deriver: StorePath,
  {
    name,
    ...made
  }: Pick<PathInfo, "path" | "narHash" | "narSize" | "references" | "contentAddress"> & { readonly name: string }
): BuiltOutput => ({
  name,
  assured: made.contentAddress !== "",
  info: new PathInfo({ ...made, deriver, registrationTime: 0, ultimate: true, signatures: [] })
})

export interface Finished {
  readonly usage: Usage
  /** Reads the outputs, while the scope of the run is open. */
  readonly importOutputs: Effect.Effect<ReadonlyArray<BuiltOutput>, BuildFailed | BuilderLost>
  /** Puts what was imported on record again, where a database that was killed has lost it; while the scope is open. */
  readonly keepOutputs: Effect.Effect<void, StorageError>
}

export interface Kind {
  readonly backend: Backend
  readonly versions: { readonly [part: string]: string }
  /** Whether its sandboxes keep accounts apart well enough that one may be answered with what another built. */
  readonly isIsolating: boolean
}

export class BuilderPool extends Context.Service<
  BuilderPool,
  {
    readonly hosts: ReadonlyArray<Host>
    /** What builds of a system run in, on this host or, before it is known, on any. */
    readonly kindOf: (system: string, host?: HostId) => Kind
    readonly epoch: number
    /** Runs the builder to its end, its log going to `log` as it comes. Closing the scope confirms that all is gone. */
    readonly run: (
      assignment: Assignment,
      log: (bytes: Uint8Array) => Effect.Effect<void>
    ) => Effect.Effect<Finished, BuildFailed | BuilderLost, Scope.Scope>
  }
>()("drover/actors/BuilderPool") {}
