/** A build's failure as an answer: nobody's doing but the build's own, and the same for whoever asks again. */
import { Schema } from "effect"
import { Outcome } from "./Attempt.ts"

/** The statuses of Nix's own that say "no", as far as we say them. */
export const FailureStatus = Schema.Literals([
  "PermanentFailure",
  "InputRejected",
  "OutputRejected",
  "TransientFailure",
  "TimedOut",
  "MiscFailure",
  "LogLimitExceeded",
  "NotDeterministic"
])
export type FailureStatus = typeof FailureStatus.Type

export const Failure = Schema.Struct({
  status: FailureStatus,
  outcome: Outcome,
  /** For people, in Nix's own words where it has some. */
  message: Schema.String
})
export type Failure = typeof Failure.Type
