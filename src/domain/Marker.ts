/**
 * What is open of the service after an event, as `Invariants` keeps it: hosts and what is lent of them, builds, and who
 * waits. Reading goes on from a marker as if everything before it were still there.
 */
import { Schema } from "effect"
import { AccountId } from "./Account.ts"
import { AttemptId, Outcome } from "./Attempt.ts"
import { BuildId } from "./BuildId.ts"
import { HostId } from "./Host.ts"
import { LeaseId } from "./Lease.ts"

export const Room = Schema.Struct({
  state: Schema.String,
  cores: Schema.Int,
  memoryBytes: Schema.Int,
  coresLent: Schema.Int,
  bytesLent: Schema.Int
})
export type Room = typeof Room.Type

export const Loan = Schema.Struct({
  account: AccountId,
  /** What is asked for, but for memory; equal words, equal hosts. */
  shape: Schema.String,
  /** Bytes of memory that are asked for. */
  asked: Schema.Int,
  /** Null until it is given. */
  host: Schema.NullOr(HostId),
  cores: Schema.Int,
  memoryBytes: Schema.Int,
  /** What is kept of a host until it is given. */
  kept: Schema.NullOr(Schema.Struct({ cores: Schema.Int, memoryBytes: Schema.Int })),
  attempt: Schema.Literals(["none", "running", "ended"])
})
export type Loan = typeof Loan.Type

export const Open = Schema.Struct({
  identity: BuildId,
  account: AccountId,
  attempt: Schema.NullOr(AttemptId),
  verified: Schema.NullOr(AttemptId),
  isIsolating: Schema.Boolean,
  /** Of its last attempt that has ended. */
  outcome: Schema.NullOr(Outcome)
})
export type Open = typeof Open.Type

export const Ended = Schema.Struct({
  identity: BuildId,
  account: AccountId,
  state: Schema.Literals(["succeeded", "failed", "cancelled"]),
  isIsolating: Schema.Boolean,
  outcome: Schema.NullOr(Outcome),
  /** The server under which it ended. */
  run: Schema.Int,
  /** Somebody was answered after it. */
  isTold: Schema.Boolean
})
export type Ended = typeof Ended.Type

export const Waiter = Schema.Struct({ build: Schema.String, account: AccountId, isAnswered: Schema.Boolean })
export type Waiter = typeof Waiter.Type

const entries = <K extends Schema.Top, V extends Schema.Top>(key: K, value: V) =>
  Schema.Array(Schema.Tuple([key, value]))

/** What a checker knows after an event. Of the builds that have ended, those that somebody still waits for. */
export const Marker = Schema.Struct({
  run: Schema.Int,
  ordinal: Schema.Int,
  isBlind: Schema.Boolean,
  hosts: entries(HostId, Room),
  leases: entries(LeaseId, Loan),
  weights: entries(AccountId, Schema.Finite),
  builds: entries(Schema.String, Open),
  ended: entries(Schema.String, Ended),
  waiters: entries(Schema.String, Waiter)
})
export type Marker = typeof Marker.Type

/** Where a record begins. */
export const origin: Marker = {
  run: 0,
  ordinal: 0,
  isBlind: false,
  hosts: [],
  leases: [],
  weights: [],
  builds: [],
  ended: [],
  waiters: []
}
