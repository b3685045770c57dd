/**
 * What the way in which a builder ended says of the build, in Nix's own words: nothing yet, or that it failed.
 *
 * What is not the builder's doing never comes here: that is a `SandboxError`.
 */
import { constants } from "node:os"
import type { Failure } from "../domain/Failure.ts"
import * as Size from "../domain/Size.ts"
import { print, type StorePath } from "../protocol/nix/StorePath.ts"
import type { Exit } from "./Sandbox.ts"

const signals = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

/** As `strsignal` says them, where that is known to matter. */
const spoken: { readonly [name: string]: string } = {
  SIGHUP: "Hangup",
  SIGINT: "Interrupt",
  SIGQUIT: "Quit",
  SIGILL: "Illegal instruction",
  SIGABRT: "Aborted",
  SIGBUS: "Bus error",
  SIGFPE: "Floating point exception",
  SIGKILL: "Killed",
  SIGSEGV: "Segmentation fault",
  SIGPIPE: "Broken pipe",
  SIGALRM: "Alarm clock",
  SIGTERM: "Terminated"
}

const nameOf = (signal: number): string => {
  const name = signals.get(signal)
  return name === undefined ? `Unknown signal ${signal}` : (spoken[name] ?? name)
}

/**
 * `memoryBytes`: what the build was allowed. A builder that has the network may fail for reasons that pass; one that
 * should have had it, but for the reason `withoutNetwork`, may fail for that.
 */
export const verdict = (
  derivation: StorePath,
  exit: Exclude<Exit, { readonly _tag: "Killed" }>,
  job: { readonly memoryBytes: number; readonly network: boolean; readonly withoutNetwork?: string | null }
): Failure | null => {
  const failed = (how: string): Failure => ({
    status: job.network ? "TransientFailure" : "PermanentFailure",
    outcome: "failed",
    message:
      `builder for '${print(derivation)}' failed ${how}` +
      ((job.withoutNetwork ?? null) === null
        ? ""
        : `; it may have the network, but there is none: ${job.withoutNetwork}`)
  })
  switch (exit._tag) {
    case "Exited":
      return exit.status === 0 ? null : failed(`with exit code ${exit.status}`)
    case "Signalled":
      return failed(`due to signal ${exit.signal} (${nameOf(exit.signal)})`)
    case "NotStarted":
      return failed(`with exit code 1: ${exit.detail}`)
    case "OutOfMemory":
      return {
        ...failed(`out of memory: it needed more than its ${Size.print(job.memoryBytes)}`),
        outcome: "out-of-memory"
      }
    case "OutOfScratch":
      return { ...failed("for lack of disk space in its sandbox"), outcome: "out-of-scratch" }
  }
}
