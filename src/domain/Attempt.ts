/** One try at a build: its name, how it ended, and what it was given. */
import { Schema } from "effect"

/** A UUIDv7. Every write about an attempt names it, and counts only while it is the current one. */
export const AttemptId = Schema.NonEmptyString.pipe(Schema.brand("AttemptId"))
export type AttemptId = typeof AttemptId.Type

export const Backend = Schema.Literals(["process", "kvm", "emulated"])
export type Backend = typeof Backend.Type

/**
 * How an attempt ended. `failed`: the builder said so, by its status or a signal. `refused`: what it made broke a
 * rule. `lost`: our doing; nobody's answer, and tried again.
 */
export const Outcome = Schema.Literals([
  "succeeded",
  "failed",
  "refused",
  "out-of-memory",
  "out-of-scratch",
  "timed-out",
  "silent",
  "cancelled",
  "lost"
])
export type Outcome = typeof Outcome.Type

/** What an attempt used, as far as it was measured. */
export const Usage = Schema.Struct({
  cpuUserMicroseconds: Schema.NullOr(Schema.Int),
  cpuSystemMicroseconds: Schema.NullOr(Schema.Int),
  /** The most that was in use at once. Much of it may be files that were kept because there was room for them. */
  memoryPeakBytes: Schema.NullOr(Schema.Int),
  /** The most seen at once of what could not have been given back. A moment's need may go unseen. */
  memoryHeldBytes: Schema.NullOr(Schema.Int),
  /** How long the builder ran, without whatever came before and after it. */
  runMilliseconds: Schema.NullOr(Schema.Int)
})
export type Usage = typeof Usage.Type

/** Of what nobody could measure. */
export const noUsage: Usage = {
  cpuUserMicroseconds: null,
  cpuSystemMicroseconds: null,
  memoryPeakBytes: null,
  memoryHeldBytes: null,
  runMilliseconds: null
}
