/** What a build asks of a host before it may start. */
import { Effect, Schema } from "effect"
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
  memoryBytes: Schema.Int.check(Schema.isGreaterThan(0)),
  /** Estimated seconds from the start of this build to the end of the last that waits for it; zero when unknown. */
  rank: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)).pipe(Schema.withConstructorDefault(Effect.succeed(0)))
}) {}
