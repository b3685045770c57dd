/** What one waiter allows a build. Null: no limit of the waiter's own. */
import { Schema } from "effect"

export const Limits = Schema.Struct({
  timeoutSeconds: Schema.NullOr(Schema.Int),
  silenceSecondsMax: Schema.NullOr(Schema.Int),
  logBytesMax: Schema.NullOr(Schema.Int)
})
export type Limits = typeof Limits.Type
