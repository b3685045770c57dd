/** The loan of CPU and memory on a host to one attempt: names the loan, so that a late word is known as late. */
import { Schema } from "effect"
import { HostId } from "./Host.ts"

export const LeaseId = Schema.NonEmptyString.pipe(Schema.brand("LeaseId"))
export type LeaseId = typeof LeaseId.Type

export class Lease extends Schema.Class<Lease>("drover/Lease")({
  id: LeaseId,
  host: HostId,
  cores: Schema.Int,
  /** What the build itself may use; the sandbox's own overhead comes on top and is in the host's books. */
  memoryBytes: Schema.Int
}) {}
