/** What a build asks of a host before it may start. */
import { Schema } from "effect"
import { AccountId } from "./Account.ts"
import { LeaseId } from "./Lease.ts"

export class Need extends Schema.Class<Need>("drover/Need")({
  /** The lease that is asked for, named by who asks, so that the request and the loan are one thing. */
  lease: LeaseId,
  account: AccountId,
  system: Schema.String,
  /** Features that the host must have: `requiredSystemFeatures`. */
  features: Schema.Array(Schema.String),
  /** `all`: every core of the host, as `big-parallel` asks. */
  cores: Schema.Union([Schema.Int.check(Schema.isGreaterThan(0)), Schema.Literal("all")]),
  memoryBytes: Schema.Int.check(Schema.isGreaterThan(0))
}) {}
