/**
 * The life of one host, as far as it is lent.
 *
 * ```text
 *               Lost: no sandbox to be had, `lossesMax` times
 *   Serving ───────────────────────────────────────────────────▶ Quarantined ◀──────┐
 *    │  ▲ ▲                                                           │ ProbeDue     │ Probed: not well
 *    │  │ └──────────────────────── Probed: well ─────────────┐      ▼              │
 *    │  │                                                      └── Probing ──────────┤
 *    │  └──────── Probed: well ────────┐                                             │
 *    └── Lost: by `lossesMax` builds ─▶ Doubted ─────────────────────────────────────┘
 *
 *   Drain, from any ──▶ Drained ──Resume──▶ Probing
 * ```
 *
 * A host that cannot give a sandbox is lent no more, and what it would have got waits or goes elsewhere: each build
 * tried there meanwhile would be lost like the last. A sandbox that is lost with its build in it says less, since a
 * build can end its own: then a probe decides at once, which nobody's build has a hand in, and the host is withheld for
 * no longer than that. However it left, a host comes back by a probe alone, each later than the last, until a build has
 * had its answer.
 *
 * Invariant: it is lent exactly in `Serving`, so that what a probe takes of it is lent to nobody else; `Withdraw` and
 * `Restore` come in turns.
 */
import { Schema } from "effect"
import type * as Lifecycle from "../Lifecycle.ts"

/** With fewer, one unlucky moment would withdraw a host; with more, that many builds are lost to a broken one. */
export const lossesMax = 3

/** Losses further apart have causes of their own. */
export const lossesMilliseconds = 60_000

/** A host that has failed for hours is asked this often: what mends it is seldom a matter of seconds. */
export const probeMillisecondsMax = 300_000

/** `host`: there was no sandbox to be had. `sandbox`: it was lost with the build in it, and by whom is not known. */
const Fault = Schema.Literals(["host", "sandbox"])

const Loss = Schema.Struct({ fault: Fault, build: Schema.String, at: Schema.Int, detail: Schema.String })
export type Loss = typeof Loss.Type

/** `strikes`: how often it was found wanting since a build last had its answer. `probe`: the number of the last probe. */
const count = { strikes: Schema.Int, probe: Schema.Int }

export const State = Schema.TaggedUnion({
  Serving: { ...count, losses: Schema.Array(Loss) },
  Doubted: { ...count, reason: Schema.String },
  Quarantined: { ...count, reason: Schema.String },
  Probing: { ...count, reason: Schema.String },
  Drained: { ...count }
})
export type State = typeof State.Type

export const Message = Schema.TaggedUnion({
  Lost: { loss: Loss },
  /** A sandbox came to its end with the builder's own word. */
  Answered: {},
  ProbeDue: { probe: Schema.Int },
  /** `trouble`: null if all was well. */
  Probed: { probe: Schema.Int, trouble: Schema.NullOr(Schema.String) },
  Drain: {},
  Resume: {}
})
export type Message = typeof Message.Type

export const Command = Schema.TaggedUnion({
  Withdraw: { why: Schema.Literals(["quarantined", "doubted", "drained"]), reason: Schema.String },
  Restore: {},
  Probe: { probe: Schema.Int },
  ProbeLater: { probe: Schema.Int, milliseconds: Schema.Int }
})
export type Command = typeof Command.Type

const { Doubted, Drained, Probing, Quarantined, Serving } = State.cases
const { Probe, ProbeLater, Restore, Withdraw } = Command.cases

type Step = Lifecycle.Step<State, Command>
type Count = Pick<State, "strikes" | "probe">
type Probed = Extract<Message, { readonly _tag: "Probed" }>

/** At once the first time; then a second, two, four … */
export const probeMilliseconds = (strikes: number): number =>
  strikes <= 1 ? 0 : Math.min(1000 * 2 ** Math.min(strikes - 2, 30), probeMillisecondsMax)

/** Of one that is not lent. */
const quarantine = (count: Count, reason: string): Step => {
  const strikes = count.strikes + 1
  const probe = count.probe + 1
  return [
    Quarantined.make({ strikes, probe, reason }),
    [ProbeLater.make({ probe, milliseconds: probeMilliseconds(strikes) })]
  ]
}

const withdraw = (count: Count, reason: string): Step => {
  const [state, later] = quarantine(count, reason)
  return [state, [Withdraw.make({ why: "quarantined", reason }), ...later]]
}

/** What a probe that was asked for makes of it. */
const judge = (count: Count, trouble: string | null): Step =>
  trouble === null ? [serve(count), [Restore.make({})]] : quarantine(count, trouble)

const lose = ({ losses, probe, strikes }: Extract<State, { readonly _tag: "Serving" }>, loss: Loss): Step => {
  const recent = [...losses.filter(({ at }) => loss.at - at < lossesMilliseconds), loss]
  if (recent.filter(({ fault }) => fault === "host").length >= lossesMax)
    return withdraw({ strikes, probe }, loss.detail)
  if (new Set(recent.map(({ build }) => build)).size < lossesMax)
    return [Serving.make({ strikes, probe, losses: recent.slice(-lossesKept) }), []]
  const next = probe + 1
  const { detail: reason } = loss
  return [
    Doubted.make({ strikes, probe: next, reason }),
    [Withdraw.make({ why: "doubted", reason }), Probe.make({ probe: next })]
  ]
}

/** A build that loses its sandbox over and over is one build: more of it than this need not be remembered. */
const lossesKept = 64

const serve = ({ probe, strikes }: Count): State => Serving.make({ strikes, probe, losses: [] })

/** Changes nothing when it is the word of an earlier probe. */
const ours =
  <S extends Count>(cell: (state: S, message: Probed) => Step) =>
  (state: S & State, message: Probed): Step =>
    message.probe === state.probe ? cell(state, message) : [state, []]

const drain = ({ probe, strikes }: Count): State => Drained.make({ strikes, probe })
const drainLent = (state: Count): Step => [drain(state), [Withdraw.make({ why: "drained", reason: "drained" })]]
/** It is not lent, so nobody need be told again. */
const drainWithdrawn = (state: Count): Step => [drain(state), []]

export const start: Step = [Serving.make({ strikes: 0, probe: 0, losses: [] }), []]

/** As the operator left it before the last restart. */
export const startDrained: Step = [
  Drained.make({ strikes: 0, probe: 0 }),
  [Withdraw.make({ why: "drained", reason: "drained" })]
]

export const table: Lifecycle.Table<State, Message, Command> = {
  Serving: {
    Lost: (state, { loss }) => lose(state, loss),
    Answered: ({ probe }) => [Serving.make({ strikes: 0, probe, losses: [] }), []],
    Drain: drainLent
  },
  Doubted: {
    Probed: ours((state, { trouble }) => judge(state, trouble)),
    // A sandbox that nobody can have is enough by itself.
    Lost: (state, { loss }) => (loss.fault === "host" ? quarantine(state, loss.detail) : [state, []]),
    Drain: drainWithdrawn
  },
  Quarantined: {
    ProbeDue: ({ reason, strikes, ...state }, { probe }) =>
      probe === state.probe
        ? [Probing.make({ strikes, probe, reason }), [Probe.make({ probe })]]
        : [Quarantined.make({ strikes, probe: state.probe, reason }), []],
    Drain: drainWithdrawn
  },
  Probing: {
    Probed: ours((state, { trouble }) => judge(state, trouble)),
    Drain: drainWithdrawn
  },
  Drained: {
    Resume: ({ strikes, ...state }) => {
      const probe = state.probe + 1
      return [Probing.make({ strikes, probe, reason: "resumed" }), [Probe.make({ probe })]]
    }
  }
}
