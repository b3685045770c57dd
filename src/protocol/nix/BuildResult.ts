/**
 * How a build ended, in Nix's own statuses.
 *
 * @see Nix `src/libstore/include/nix/store/build-result.hh`
 */
import { Schema } from "effect"
import * as Codec from "../wire/Codec.ts"
import { OutputName } from "./Derivation.ts"
import { Sha256 } from "./Hash.ts"
import { SignatureText } from "./Signature.ts"
import { StorePath } from "./StorePath.ts"

/** By name, the number that travels. Numbers from 15 on make newer clients hang up, so there are none. */
export const statuses = {
  Built: 0,
  Substituted: 1,
  AlreadyValid: 2,
  /** The builder said so: by its exit status, a signal, or an output that is not there. */
  PermanentFailure: 3,
  /** The derivation cannot be built by anybody, or not here. */
  InputRejected: 4,
  /** What was built broke a rule: another hash than promised, a reference that is not allowed. */
  OutputRejected: 5,
  TransientFailure: 6,
  /** Written by Nix before 2.0 only. */
  CachedFailure: 7,
  TimedOut: 8,
  /** Whatever is not the build's own fault. */
  MiscFailure: 9,
  DependencyFailed: 10,
  LogLimitExceeded: 11,
  /** Built again, it came out differently. */
  NotDeterministic: 12,
  ResolvesToAlreadyValid: 13,
  NoSubstituters: 14
} as const

export type Status = keyof typeof statuses

// `Object.keys` forgets what the keys are; of a constant they are all there is.
export const Status = Schema.Literals(Object.keys(statuses) as ReadonlyArray<Status>)

const successes: ReadonlySet<Status> = new Set(["Built", "Substituted", "AlreadyValid", "ResolvesToAlreadyValid"])

export const isSuccess = (status: Status): boolean => successes.has(status)

export const statusOf = (number: number): Status | Codec.WireError =>
  Status.literals.find((status) => statuses[status] === number) ??
  new Codec.WireError({ expected: "the status of a build, 0 to 14", found: `${number}` })

/** An output that was made, or was there. */
export const BuiltOutput = Schema.Struct({
  name: OutputName,
  path: StorePath,
  /** What the derivation hashes to: names the output to clients up to 2.34. */
  hash: Sha256,
  signatures: Schema.Array(SignatureText)
})
export type BuiltOutput = typeof BuiltOutput.Type

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 32 - 1 }))
const Seconds = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 53 - 1 }))
/** Signed on the wire. */
const Microseconds = Schema.NullOr(
  Schema.Int.check(Schema.isBetween({ minimum: -(2 ** 53 - 1), maximum: 2 ** 53 - 1 }))
)

export const BuildResult = Schema.Struct({
  status: Status,
  /** Empty on success; may be coloured. */
  error: Codec.text.schema,
  timesBuilt: Count,
  isNonDeterministic: Schema.Boolean,
  /** Seconds since the epoch; zero when nothing was built. */
  startTime: Seconds,
  stopTime: Seconds,
  /** Null when not measured. */
  cpuUserMicroseconds: Microseconds,
  cpuSystemMicroseconds: Microseconds,
  /** Empty unless it succeeded. */
  builtOutputs: Schema.Array(BuiltOutput)
})
export type BuildResult = typeof BuildResult.Type
