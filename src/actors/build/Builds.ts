/**
 * Every build under way, one per build identity, shared by all who wait for it.
 */
import { Context, type Effect, type Scope, type Stream } from "effect"
import type { Account } from "../../domain/Account.ts"
import type { Limits } from "../../domain/Limits.ts"
import type { BasicDerivation } from "../../protocol/nix/Derivation.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import type { Refused } from "./Refused.ts"

export interface Request {
  readonly account: Account
  /** What the client calls the derivation: shown, logged, believed in nothing. */
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  readonly limits: Limits
  /** True for mode `check`: build again and compare. */
  readonly check: boolean
}

/** How a build ended, in words that both protocols can say. `status` is Nix's own. */
export interface Answer {
  readonly status:
    | "Built" | "Substituted" | "AlreadyValid" | "PermanentFailure" | "InputRejected" | "OutputRejected"
    | "TransientFailure" | "TimedOut" | "MiscFailure" | "LogLimitExceeded" | "NotDeterministic"
  /** Empty on success. */
  readonly message: string
  readonly timesBuilt: number
  /** Seconds since the epoch. */
  readonly startedAt: number
  readonly endedAt: number
  readonly cpuUserMicroseconds: number | null
  readonly cpuSystemMicroseconds: number | null
  /** Every output of a successful build. */
  readonly outputs: ReadonlyArray<{ readonly name: string; readonly path: StorePath }>
}

/** What a waiter hears: the builder's own bytes, or a line of the service's own for this waiter alone. */
export type Heard =
  | { readonly _tag: "Log"; readonly bytes: Uint8Array }
  | { readonly _tag: "Service"; readonly line: string }

export interface Waiting {
  /** From the first line of the log, whenever one came to wait; ends before the answer. Reading it slowly slows nobody else. */
  readonly heard: Stream.Stream<Heard>
  readonly answer: Effect.Effect<Answer>
}

export class Builds extends Context.Service<Builds, {
  /** Waits until the scope closes: the last wait to end, ends the build. */
  readonly submit: (request: Request) => Effect.Effect<Waiting, Refused, Scope.Scope>
}>()("drover/actors/Builds") {}
