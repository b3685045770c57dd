/**
 * What happens in this service, as one append-only record tells it: each kind of event once.
 *
 * An event is a fact, written by whoever makes it one, and never changed. Together they are enough to judge the service
 * by: `Invariants` reads them in order and says what must not have happened. Nothing here is an order to anybody, and
 * nothing is rebuilt from it.
 *
 * An attempt bears the name of its lease, so what is said of the one and of the other is said of the same try.
 */
import { Schema } from "effect"
import { AccountId } from "./Account.ts"
import { AttemptId, Backend, Outcome } from "./Attempt.ts"
import { BuildId } from "./BuildId.ts"
import { HostId } from "./Host.ts"
import { LeaseId } from "./Lease.ts"

const Whole = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

export const Event = Schema.TaggedUnion({
  /** The first of a server's events. Whatever the one before left open has ended with it. */
  ServerStarted: {},
  /** The last, of a server that was told to end: nothing is open any more. */
  ServerStopped: {},

  /** A host is lent from, as large as this; or no more, and then what is lent of it runs on. */
  HostChanged: {
    host: HostId,
    state: Schema.Literals(["open", "draining", "quarantined"]),
    cores: Whole,
    /** What sandboxes take beyond their builds included. */
    memoryBytes: Whole
  },

  /** An account's part of what there is, to that of others: one, unless it is told. */
  AccountWeighed: { account: AccountId, weight: Schema.Finite },

  LeaseRequested: {
    lease: LeaseId,
    account: AccountId,
    system: Schema.String,
    features: Schema.Array(Schema.String),
    cores: Schema.Union([Whole, Schema.Literal("all")]),
    memoryBytes: Whole
  },
  /** Nothing more is lent of the host until this lease is; it counts as lent already. */
  HostKept: { lease: LeaseId, host: HostId, cores: Whole, memoryBytes: Whole },
  /** For this lease, it is kept no more. */
  HostFreed: { lease: LeaseId },
  /** What is taken out of the host's books: the sandbox's own overhead included. */
  LeaseGranted: { lease: LeaseId, host: HostId, cores: Whole, memoryBytes: Whole },
  /** No host could ever give it. */
  LeaseRefused: { lease: LeaseId },
  /** Given back, or asked for no more: whoever asked is gone. */
  LeaseReturned: { lease: LeaseId },

  /** A build of its own, which may get attempts. */
  BuildQueued: { build: Schema.String, identity: BuildId, account: AccountId },
  AttemptStarted: { attempt: AttemptId, build: Schema.String, backend: Backend, isIsolating: Schema.Boolean },
  /** Its outputs have been read, checked and hashed, and are on disk. */
  OutputsVerified: { attempt: AttemptId, build: Schema.String },
  /** `word`: the attempt for which the builder spoke whose word ended it; null where it was not a builder's word. */
  AttemptEnded: { attempt: AttemptId, build: Schema.String, outcome: Outcome, word: Schema.NullOr(AttemptId) },
  /** `attempt`: whose result it is; null where it has none, or an earlier build's. */
  BuildEnded: {
    build: Schema.String,
    state: Schema.Literals(["succeeded", "failed", "cancelled"]),
    attempt: Schema.NullOr(AttemptId)
  },
  /** A build that needs no attempt: an earlier one has the answer. It has ended as that one did. */
  BuildReused: { build: Schema.String, identity: BuildId, account: AccountId, from: Schema.String },

  /** Somebody waits for a build. */
  WaiterCame: { waiter: Schema.String, build: Schema.String, identity: BuildId, account: AccountId },
  /** Told how it ended, or that it reached a limit of its own. */
  WaiterAnswered: { waiter: Schema.String, status: Schema.String },
  /** Gone, answered or not. */
  WaiterLeft: { waiter: Schema.String }
})
export type Event = typeof Event.Type

/** An event in its place: which server wrote it, as its how manieth, and when. */
export const Recorded = Schema.Struct({
  /** Servers in the order in which they ran. */
  run: Schema.Int,
  /** From one upwards, with nothing left out. */
  ordinal: Schema.Int,
  /** Milliseconds since the epoch. */
  at: Schema.Int,
  event: Event
})
export type Recorded = typeof Recorded.Type

/** What an event is about, for whoever looks for all that happened to it. */
export const subjectsOf = (event: Event): { readonly build: string | null; readonly lease: string | null } => ({
  build: "build" in event ? event.build : null,
  lease: "lease" in event ? event.lease : "attempt" in event ? event.attempt : null
})
