/**
 * The life of one build, from accepted derivation to registered outputs.
 *
 * ```text
 *   Queued ──Leased──▶ Building ──Exited──▶ Importing ──Imported──▶ Succeeded
 *     ▲                   │                    │
 *     └────BuilderLost────┴────────────────────┤
 *                         │                    │
 *                         └──────Failed────────┴──────────────────▶ Failed
 *
 *   NeverFits, from Queued ──▶ Failed
 *   Cancel, from any of the first three ──▶ Cancelled
 * ```
 *
 * A builder that says no has failed: that is an answer, and asking again would get the same one. A builder that is
 * lost is our fault, so the build goes back to the queue, `attemptsMax` times in all.
 *
 * Each attempt has one lease, and its sandbox lives as long. `ReleaseLease` ends both: the sandbox is confirmed gone
 * before what it occupied is lent again. It comes last, since nobody who waits has to wait for it.
 *
 * Invariant: every lease granted is either held by the state or has been released.
 */
import { Schema } from "effect"
import { Outcome } from "../../domain/Attempt.ts"
import { Failure } from "../../domain/Failure.ts"
import { LeaseId } from "../../domain/Lease.ts"
import type * as Lifecycle from "../Lifecycle.ts"

export const attemptsMax = 3

export const State = Schema.TaggedUnion({
  Queued: { attempt: Schema.Int },
  Building: { attempt: Schema.Int, lease: LeaseId },
  Importing: { attempt: Schema.Int, lease: LeaseId },
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
  BuilderLost: { lease: LeaseId, detail: Schema.String },
  Imported: { lease: LeaseId },
  Cancel: { outcome: Outcome }
})
export type Message = typeof Message.Type

export const Command = Schema.TaggedUnion({
  RequestLease: {},
  StartBuilder: { lease: LeaseId, attempt: Schema.Int },
  ImportOutputs: { lease: LeaseId },
  EndAttempt: { lease: LeaseId, outcome: Outcome, detail: Schema.String },
  AnswerSuccess: {},
  AnswerFailure: { failure: Failure },
  AnswerCancelled: { outcome: Outcome },
  ReleaseLease: { lease: LeaseId },
  /** Nothing is left of the build: who waits for its end may go on. */
  SayGone: {}
})
export type Command = typeof Command.Type

const { Building, Cancelled, Failed, Importing, Queued, Succeeded } = State.cases
const {
  AnswerCancelled,
  AnswerFailure,
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

const tryAgain = ({ attempt, lease }: Held, { detail }: Extract<Message, { readonly _tag: "BuilderLost" }>): Step =>
  attempt < attemptsMax
    ? [
        Queued.make({ attempt: attempt + 1 }),
        [EndAttempt.make({ lease, outcome: "lost", detail }), ReleaseLease.make({ lease }), RequestLease.make({})]
      ]
    : fail(lease, {
        status: "TransientFailure",
        outcome: "lost",
        message: `its builder was lost ${attemptsMax} times, the last time: ${detail}`
      })

export const start: Step = [Queued.make({ attempt: 1 }), [RequestLease.make({})]]

export const table: Lifecycle.Table<State, Message, Command> = {
  Queued: {
    Leased: ({ attempt }, { lease }) => [Building.make({ attempt, lease }), [StartBuilder.make({ lease, attempt })]],
    NeverFits: (_, { failure }) => [Failed.make({}), [AnswerFailure.make({ failure }), SayGone.make({})]],
    Cancel: (_, { outcome }) => [Cancelled.make({}), [AnswerCancelled.make({ outcome }), SayGone.make({})]]
  },
  Building: {
    Leased: giveBack,
    Exited: ours(({ attempt, lease }) => [Importing.make({ attempt, lease }), [ImportOutputs.make({ lease })]]),
    Failed: ours(({ lease }, { failure }) => fail(lease, failure)),
    BuilderLost: ours(tryAgain),
    Cancel: cancel
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
    Cancel: cancel
  },
  // A lease can be granted just as its build is cancelled.
  Cancelled: { Leased: giveBack },
  Succeeded: { Leased: giveBack },
  Failed: { Leased: giveBack }
}
