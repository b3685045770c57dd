/**
 * Which finished build answers a new request, if any does: a function of what is recorded and of who asks.
 *
 * Only builds of the same identity come here, so a success is what any of them would come to, and answers anyone. A
 * failure may be for want of something, so it answers only who would get no more of it, in a sandbox of the same kind.
 * That a build took too long is an answer to whoever allows it no longer, and only if they want to hear it.
 *
 * What one account had built answers another only from sandboxes that keep accounts apart.
 */
import type { AttemptId, Backend, Outcome } from "./Attempt.ts"
import type { Limits } from "./Limits.ts"
import type { Settings } from "./Settings.ts"

/** A build of the same identity that has ended, with the attempt that ended it. */
export interface Candidate {
  readonly build: string
  readonly state: "succeeded" | "failed" | "cancelled"
  readonly status: string
  /** The asker's own account waited for it. */
  readonly isOwn: boolean
  /** Of a success: whether all is there that granting its outputs takes. */
  readonly isComplete: boolean
  /** Whether the asker's view holds nothing else under one of its outputs' paths. */
  readonly agrees: boolean
  /** Taken back by the operator. */
  readonly isDistrusted: boolean
  readonly attempt: AttemptId
  readonly outcome: Outcome
  readonly backend: Backend
  readonly epoch: number
  readonly cores: number
  readonly memoryBytes: number
  /** The waiter's limit that ended it, for an attempt that took too long or was silent for too long. */
  readonly limitSeconds: number | null
}

/** Who asks, and what a new build of theirs would get. */
export interface Asker {
  readonly settings: Settings
  readonly limits: Limits
  readonly cores: number
  readonly memoryBytes: number
  /** The most that it could come to have after running out of memory. */
  readonly memoryBytesMax: number
  readonly backend: Backend
  readonly epoch: number
  /** Backends that keep accounts apart. */
  readonly isolating: ReadonlyArray<Backend>
  /** It may use the network, so it may fail for reasons that pass. */
  readonly hasNetwork: boolean
}

export type Decision<C extends Candidate = Candidate> =
  | { readonly _tag: "Reuse"; readonly kind: "success" | "failure" | "timeout"; readonly candidate: C }
  /** For the record, and for nobody but the operator. */
  | { readonly _tag: "Build"; readonly reason: string }

export const decide = <C extends Candidate>(candidates: ReadonlyArray<C>, asker: Asker): Decision<C> => {
  if (!asker.settings.reuseBuilds) return { _tag: "Build", reason: "asked for afresh" }
  const reasons: Array<string> = []
  for (const { kind, of, refusal } of kinds) {
    // What agrees with what the asker has already comes first; of the rest the one that most others have, the oldest.
    const apt = [...candidates.filter(of)].sort((a, b) => Number(b.agrees) - Number(a.agrees) || before(a, b))
    for (const candidate of apt) {
      const reason = untrusted(candidate, asker) ?? refusal(candidate, asker)
      if (reason === null) return { _tag: "Reuse", kind, candidate }
      reasons.push(`${candidate.build}: ${reason}`)
    }
  }
  return { _tag: "Build", reason: reasons[0] ?? "none of the same has ended with an answer" }
}

/** Ids are made in the order of time. */
const before = (a: Candidate, b: Candidate) => (a.build < b.build ? -1 : 1)

const untrusted = (candidate: Candidate, { isolating }: Asker): string | null => {
  if (candidate.isDistrusted) return "taken back"
  return candidate.isOwn || isolating.includes(candidate.backend)
    ? null
    : `another account's, and '${candidate.backend}' does not keep accounts apart`
}

/** In the order in which they are looked for. `refusal`: why this one is no answer to this asker; null if it is. */
const kinds: ReadonlyArray<{
  readonly kind: "success" | "failure" | "timeout"
  readonly of: (candidate: Candidate) => boolean
  readonly refusal: (candidate: Candidate, asker: Asker) => string | null
}> = [
  {
    kind: "success",
    of: ({ state }) => state === "succeeded",
    refusal: ({ isComplete }) => (isComplete ? null : "its outputs are no longer all there")
  },
  {
    kind: "failure",
    // Lost builders are nobody's answer, and what status calls transient is none by its own word.
    of: ({ outcome, state, status }) =>
      state === "failed" && lasting.includes(outcome) && status !== "TransientFailure" && status !== "NotDeterministic",
    refusal: (candidate, asker) => {
      if (!asker.settings.reuseBuildFailures) return "its failure is not wanted"
      if (asker.hasNetwork) return "it failed, and may not fail the next time: it has the network"
      // Its scratch is the host's own disk, which others fill and empty.
      if (candidate.outcome === "out-of-scratch" && candidate.backend === "process") return "the host's disk was full"
      const memoryBytes = candidate.outcome === "out-of-memory" ? asker.memoryBytesMax : asker.memoryBytes
      return elsewhere(candidate, asker) ?? smaller(candidate, { ...asker, memoryBytes })
    }
  },
  {
    kind: "timeout",
    of: ({ outcome, state }) => state === "cancelled" && (outcome === "timed-out" || outcome === "silent"),
    refusal: (candidate, asker) => {
      if (!asker.settings.reuseBuildTimeouts) return "it took too long, and that is not wanted for an answer"
      if (asker.hasNetwork) return "it took too long, and may not the next time: it has the network"
      const { silenceSecondsMax, timeoutSeconds } = asker.limits
      const seconds = candidate.outcome === "silent" ? silenceSecondsMax : timeoutSeconds
      if (candidate.limitSeconds === null || seconds === null || seconds > candidate.limitSeconds) {
        return "it took too long, and would have longer now"
      }
      return elsewhere(candidate, asker) ?? smaller(candidate, asker)
    }
  }
]

const lasting: ReadonlyArray<Outcome> = ["failed", "refused", "out-of-memory", "out-of-scratch"]

const elsewhere = ({ backend, epoch }: Candidate, asker: Asker): string | null => {
  if (backend !== asker.backend) return `it failed in '${backend}', and would run in '${asker.backend}' now`
  return epoch === asker.epoch ? null : `it failed in a sandbox of epoch ${epoch}, and it is ${asker.epoch} now`
}

const smaller = (
  { cores, memoryBytes }: Candidate,
  asker: { readonly cores: number; readonly memoryBytes: number }
): string | null => {
  if (asker.cores > cores) return `it failed with ${cores} cores, and would have ${asker.cores} now`
  return asker.memoryBytes > memoryBytes
    ? `it failed with ${memoryBytes} bytes of memory, and would have ${asker.memoryBytes} now`
    : null
}
