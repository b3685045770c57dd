/**
 * The life of one build, from accepted derivation to registered outputs.
 *
 * ```text
 *   Queued ──Leased──▶ Building ──Exited──▶ Importing ──Imported──▶ Succeeded
 *     ▲                   │                    │
 *     ├────BuilderLost────┼────────────────────┤
 *     └────OutOfMemory────┤                    │
 *                         └──────Failed────────┴──────────────────▶ Failed
 *
 *   NeverFits, from Queued ──▶ Failed
 *   Cancel or HandOn, from any of the first three ──▶ Cancelled
 * ```
 *
 * A builder that says no has failed: that is an answer, and asking again would get the same one. A builder that is
 * lost is our fault, so the build goes back to the queue, until `attemptsMax` have been lost. One that takes its
 * sandbox with it `crashesMax` times is told that the fault is its own. A host that had no sandbox to give is soon lent
 * no more, so a build may meet many such before it is given up.
 *
 * `HandOn` ends a build here and leaves it in the record, for the server that comes next.
 *
 * A builder that ran out of memory says nothing but how much it had. It goes again with more, as often as that is
 * possible, and only what could have no more is an answer.
 *
 * Each attempt has one lease, and its sandbox lives as long. `ReleaseLease` ends both: the sandbox is confirmed gone
 * before what it occupied is lent again. It comes last, since nobody who waits has to wait for it.
 *
 * Invariants: every lease granted is either held by the state or has been released; no attempt after one that ran out
 * of memory has as little.
 */
import { Schema } from "effect"
import { Outcome } from "../../domain/Attempt.ts"
import { Failure } from "../../domain/Failure.ts"
import { LeaseId } from "../../domain/Lease.ts"
import * as Sizing from "../../domain/Sizing.ts"
import type * as Lifecycle from "../Lifecycle.ts"

/** Builders lost before a build is given up, unless it asks for another number: a broken host soon has them all. */
export const attemptsMaxDefault = 3

/** Sandboxes that end with their build in them before it is told that it ends them: once or twice is bad luck. */
export const crashesMax = 3

/** Hosts that had no sandbox for a build: more than the few that a broken one meets before it is lent no more. */
export const unstartedMax = 10

/** How far a build may go, settled when it is accepted. */
export const Terms = Schema.Struct({
  /** Of the first attempt. */
  memoryBytes: Schema.Int,
  /** Of the next, at the least, if that was too little. */
  memoryBytesNext: Schema.Int,
  memoryBytesMax: Schema.Int,
  /** For whoever needs more than that: what keeps it there. */
  ceiling: Schema.String,
  /** Attempts that may be lost. */
  attemptsMax: Schema.Int
})
export type Terms = typeof Terms.Type

/** How far it has come. */
export const Course = Schema.Struct({
  terms: Terms,
  /** From one upwards: the attempt under way, or the next. */
  attempt: Schema.Int,
  memoryBytes: Schema.Int,
  /** Attempts for which there was no sandbox. */
  unstarted: Schema.Int,
  /** Attempts lost otherwise, and how many of them took their sandbox with them. */
  lost: Schema.Int,
  crashed: Schema.Int
})
export type Course = typeof Course.Type

export const State = Schema.TaggedUnion({
  Queued: { course: Course },
  Building: { course: Course, lease: LeaseId },
  Importing: { course: Course, lease: LeaseId },
  Succeeded: {},
  Failed: {},
  Cancelled: {}
})
export type State = typeof State.Type

/** What a builder says names the lease it speaks for, so that a late word is known as one. */
export const Message = Schema.TaggedUnion({
  Leased: { lease: LeaseId },
  NeverFits: { failure: Failure },
  Exited: { lease: LeaseId },
  Failed: { lease: LeaseId, failure: Failure },
  /** As a failure if it can have no more. */
  OutOfMemory: { lease: LeaseId, failure: Failure },
  BuilderLost: {
    lease: LeaseId,
    fault: Schema.Literals(["host", "sandbox", "service", "memory"]),
    detail: Schema.String
  },
  Imported: { lease: LeaseId },
  Cancel: { outcome: Outcome },
  /** The server ends. */
  HandOn: {}
})
export type Message = typeof Message.Type

export const Command = Schema.TaggedUnion({
  RequestLease: { memoryBytes: Schema.Int },
  StartBuilder: { lease: LeaseId, attempt: Schema.Int },
  ImportOutputs: { lease: LeaseId },
  EndAttempt: { lease: LeaseId, outcome: Outcome, detail: Schema.String },
  AnswerSuccess: {},
  AnswerFailure: { failure: Failure },
  AnswerCancelled: { outcome: Outcome },
  /** The server that comes next answers: the record stays open. */
  AnswerLater: {},
  ReleaseLease: { lease: LeaseId },
  /** Nothing is left of the build: who waits for its end may go on. */
  SayGone: {}
})
export type Command = typeof Command.Type

const { Building, Cancelled, Failed, Importing, Queued, Succeeded } = State.cases
const {
  AnswerCancelled,
  AnswerFailure,
  AnswerLater,
  AnswerSuccess,
  EndAttempt,
  ImportOutputs,
  ReleaseLease,
  RequestLease,
  SayGone,
  StartBuilder
} = Command.cases

type Step = Lifecycle.Step<State, Command>
type Held = Extract<State, { readonly lease: LeaseId }>
type FromBuilder = Extract<Message, { readonly lease: LeaseId }>

/** Changes nothing when the message speaks for another lease than the one held. */
const ours =
  <S extends Held, M extends FromBuilder>(cell: (state: S, message: M) => Step) =>
  (state: S, message: M): Step =>
    message.lease === state.lease ? cell(state, message) : [state, []]

const giveBack = (state: State, { lease }: FromBuilder): Step => [state, [ReleaseLease.make({ lease })]]

const fail = (lease: LeaseId, failure: Failure): Step => [
  Failed.make({}),
  [
    EndAttempt.make({ lease, outcome: failure.outcome, detail: failure.message }),
    AnswerFailure.make({ failure }),
    ReleaseLease.make({ lease }),
    SayGone.make({})
  ]
]

const cancel = ({ lease }: Held, { outcome }: Extract<Message, { readonly _tag: "Cancel" }>): Step => [
  Cancelled.make({}),
  [
    EndAttempt.make({ lease, outcome, detail: "" }),
    AnswerCancelled.make({ outcome }),
    ReleaseLease.make({ lease }),
    SayGone.make({})
  ]
]

const handOn = ({ lease }: Held): Step => [
  Cancelled.make({}),
  [
    EndAttempt.make({ lease, outcome: "cancelled", detail: "the server ended" }),
    AnswerLater.make({}),
    ReleaseLease.make({ lease }),
    SayGone.make({})
  ]
]

/** Back to the queue, with whatever has changed. */
const again = (
  { course, lease }: Held,
  end: { readonly outcome: Outcome; readonly detail: string },
  change: Partial<Course>
): Step => {
  const next = { ...course, ...change, attempt: course.attempt + 1 }
  return [
    Queued.make({ course: next }),
    [
      EndAttempt.make({ lease, ...end }),
      ReleaseLease.make({ lease }),
      RequestLease.make({ memoryBytes: next.memoryBytes })
    ]
  ]
}

const withMore = (held: Held, { failure }: Extract<Message, { readonly _tag: "OutOfMemory" }>): Step => {
  const { memoryBytes, terms } = held.course
  const more = Sizing.more(memoryBytes, terms)
  const { message, outcome } = failure
  return more === null
    ? fail(held.lease, { ...failure, message: `${message}; ${terms.ceiling}` })
    : again(held, { outcome, detail: message }, { memoryBytes: more })
}

const tryAgain = (held: Held, { detail, fault }: Extract<Message, { readonly _tag: "BuilderLost" }>): Step => {
  const { memoryBytes, terms, ...before } = held.course
  const unstarted = before.unstarted + (fault === "host" ? 1 : 0)
  const lost = before.lost + (fault === "host" ? 0 : 1)
  const crashed = before.crashed + (fault === "sandbox" ? 1 : 0)
  if (crashed >= crashesMax) {
    // Nobody else's answer: what it did to this sandbox it may not do to another.
    return fail(held.lease, {
      status: "PermanentFailure",
      outcome: "lost",
      message: `its sandbox ended ${crashed} times while it ran, so the build itself seems to be what ends it; the last time: ${detail}`
    })
  }
  if (lost >= terms.attemptsMax || unstarted >= unstartedMax) {
    const total = lost + unstarted
    const times = total === 1 ? "once" : `${total} times, the last time`
    return fail(held.lease, {
      status: "TransientFailure",
      outcome: "lost",
      message: `its builder was lost ${times}: ${detail}`
    })
  }
  const more = fault === "memory" ? Sizing.more(memoryBytes, terms) : null
  return again(held, { outcome: "lost", detail }, { unstarted, lost, crashed, memoryBytes: more ?? memoryBytes })
}

export const start = (terms: Terms): Step => {
  const { memoryBytes } = terms
  return [
    Queued.make({ course: { terms, attempt: 1, memoryBytes, unstarted: 0, lost: 0, crashed: 0 } }),
    [RequestLease.make({ memoryBytes })]
  ]
}

export const table: Lifecycle.Table<State, Message, Command> = {
  Queued: {
    Leased: ({ course }, { lease }) => [
      Building.make({ course, lease }),
      [StartBuilder.make({ lease, attempt: course.attempt })]
    ],
    NeverFits: (_, { failure }) => [Failed.make({}), [AnswerFailure.make({ failure }), SayGone.make({})]],
    Cancel: (_, { outcome }) => [Cancelled.make({}), [AnswerCancelled.make({ outcome }), SayGone.make({})]],
    HandOn: () => [Cancelled.make({}), [AnswerLater.make({}), SayGone.make({})]]
  },
  Building: {
    Leased: giveBack,
    Exited: ours(({ course, lease }) => [Importing.make({ course, lease }), [ImportOutputs.make({ lease })]]),
    Failed: ours(({ lease }, { failure }) => fail(lease, failure)),
    OutOfMemory: ours(withMore),
    BuilderLost: ours(tryAgain),
    Cancel: cancel,
    HandOn: handOn
  },
  Importing: {
    Leased: giveBack,
    Imported: ours(({ lease }) => [
      Succeeded.make({}),
      [
        EndAttempt.make({ lease, outcome: "succeeded", detail: "" }),
        AnswerSuccess.make({}),
        ReleaseLease.make({ lease }),
        SayGone.make({})
      ]
    ]),
    Failed: ours(({ lease }, { failure }) => fail(lease, failure)),
    BuilderLost: ours(tryAgain),
    Cancel: cancel,
    HandOn: handOn
  },
  // A lease can be granted just as its build is cancelled.
  Cancelled: { Leased: giveBack },
  Succeeded: { Leased: giveBack },
  Failed: { Leased: giveBack }
}
