/** An event that breaks a rule of `Invariants`: which, what was expected, and what was found. */
import { Schema } from "effect"

export const Rule = Schema.Literals([
  "record",
  "host",
  "lease",
  "order",
  "attempt",
  "verified",
  "end",
  "answer",
  "identity",
  "closed"
])
export type Rule = typeof Rule.Type

/** One event that breaks a rule. */
export const Violation = Schema.Struct({
  run: Schema.Int,
  ordinal: Schema.Int,
  event: Schema.String,
  rule: Rule,
  expected: Schema.String,
  found: Schema.String
})
export type Violation = typeof Violation.Type

export const words = ({ event, expected, found, ordinal, rule, run }: Violation): string =>
  `${rule}: expected ${expected}, found ${found} (${event}, event ${ordinal} of server ${run})`
