/** A build that will not be tried, and why: a word for the client. */
import { Schema } from "effect"

export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  status: Schema.Literals(["InputRejected", "MiscFailure", "TransientFailure"]),
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}
