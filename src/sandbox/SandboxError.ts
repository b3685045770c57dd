/** The sandbox floor's one failure: ours, not the build's. Whoever asked may try again elsewhere. */
import { Schema } from "effect"

export class SandboxError extends Schema.TaggedError<SandboxError>()("SandboxError", {
  /** What was being done: "starting the executor". */
  operation: Schema.String,
  /** What was met. */
  detail: Schema.String,
  /** True where it is about what this job was to see: for another, the machine is as good as before. */
  isOfInputs: Schema.optionalKey(Schema.Boolean),
  cause: Schema.optionalKey(Schema.Unknown)
}) {
  override get message() {
    return `${this.operation}: ${this.detail}`
  }
}
