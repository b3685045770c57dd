/** A machine that builds: what it can run, and how much of it. */
import { Effect, Schema } from "effect"

export const HostId = Schema.NonEmptyString.pipe(Schema.brand("HostId"))
export type HostId = typeof HostId.Type

export class Host extends Schema.Class<Host>("drover/Host")({
  id: HostId,
  systems: Schema.Array(Schema.String),
  /** Those of its systems that it has no processor for, and so is many times slower at. */
  emulatedSystems: Schema.Array(Schema.String).pipe(Schema.withConstructorDefault(Effect.succeed([]))),
  features: Schema.Array(Schema.String),
  cores: Schema.Int.check(Schema.isGreaterThan(0)),
  memoryBytes: Schema.Int.check(Schema.isGreaterThan(0)),
  /** Bytes that a sandbox takes beyond what its build may use; every lease pays it. */
  overheadBytes: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
}) {}
