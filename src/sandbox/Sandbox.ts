/**
 * A sandbox runs one job and hands over its log and its outputs, whichever backend carries it.
 *
 * Its scope is its life: closing it kills whatever runs, confirms that it is gone, and removes what it left.
 */
import { Context, type Effect, type Scope, type Stream } from "effect"
import type { Backend, Usage } from "../domain/Attempt.ts"
import type { InputRead } from "../domain/InputRead.ts"
import type { Source } from "../protocol/wire/Source.ts"
import type { Job } from "./Job.ts"
import type { OutputRefused } from "./OutputImport.ts"
import type { SandboxError } from "./SandboxError.ts"

/** How the builder ended. The sandbox says what it saw; whose fault it was is decided above. */
export type Exit =
  | { readonly _tag: "Exited"; readonly status: number }
  | { readonly _tag: "Signalled"; readonly signal: number }
  /** By SIGKILL from outside of its sandbox, whose first process nothing inside can kill. */
  | { readonly _tag: "Killed" }
  | { readonly _tag: "OutOfMemory"; readonly certain: boolean }
  | { readonly _tag: "OutOfScratch" }
  /** The builder could not be started at all: no such file, not executable. */
  | { readonly _tag: "NotStarted"; readonly detail: string }

export interface Ended {
  readonly exit: Exit
  readonly usage: Usage
  /** Names of the declared outputs that are there. */
  readonly outputs: ReadonlyArray<string>
  /** Which of its inputs the builder read, and how much of them; null where the backend cannot tell. */
  readonly inputsRead: ReadonlyArray<InputRead> | null
}

export interface Running {
  /** The builder's bytes as its terminal gave them; ends when the builder has ended. */
  readonly log: Stream.Stream<Uint8Array, SandboxError>
  /** Resolves once the builder and everything it started are gone. Needs the log to be read. */
  readonly ended: Effect.Effect<Ended, SandboxError>
  /** One output as a NAR, once the builder has ended; one at a time. Refused is what Nix would not take either. */
  readonly output: (name: string) => Effect.Effect<Source<SandboxError | OutputRefused>, SandboxError>
  /** Why a build that may have the network has none; null if it has one, or may not have it. */
  readonly withoutNetwork: string | null
}

/**
 * Of every sandbox here, which are one executor's. Raised with every change that could alter an outcome.
 *
 * 2: a builder that was killed from outside has not failed.
 */
export const epoch = 2

/** A way of running builds, for the systems whose builds it runs. */
export interface Kind {
  readonly backend: Backend
  /** Systems it can run: `x86_64-linux`, `i686-linux`. */
  readonly systems: ReadonlyArray<string>
  /** Bytes that a sandbox takes beyond what its build may use. */
  readonly overheadBytes: number
  /** Versions of what it is made of (executor, kernel, …), for the build record. */
  readonly versions: { readonly [part: string]: string }
}

export class Sandbox extends Context.Service<
  Sandbox,
  {
    /** Each system is one kind's, for as long as the server runs. The machine's own kind is the first. */
    readonly kinds: readonly [Kind, ...ReadonlyArray<Kind>]
    /** Raised with every change that could alter an outcome. */
    readonly epoch: number
    readonly start: (job: Job) => Effect.Effect<Running, SandboxError, Scope.Scope>
  }
>()("drover/sandbox/Sandbox") {}
