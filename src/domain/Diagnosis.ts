/** What an examination of the service has come to. */
import { Schema } from "effect"

export const Diagnosis = Schema.Struct({
  /** How much was looked at. */
  examined: Schema.Struct({ events: Schema.Int, builds: Schema.Int, attempts: Schema.Int, nars: Schema.Int }),
  /** What must not be: each a sentence. None, when all is well. */
  findings: Schema.Array(Schema.String),
  /** What costs room and harms nothing. */
  notes: Schema.Array(Schema.String)
})
export type Diagnosis = typeof Diagnosis.Type
