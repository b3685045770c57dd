/**
 * The life of one machine: what it may come to next, how long each stage may take, and when its silence means that it is
 * dead. Pure.
 *
 *     Reserving → Preparing → Booting   → Ready → Running → Collecting → Releasing
 *                           → Restoring →
 *
 * Time is counted in turns of our own loop, one a second: a server that was held up itself has had no turn, so it takes
 * nobody for dead whom it had no time to listen to.
 */
import type { Accelerator } from "./Qemu.ts"

/**
 * `Restoring`: it is made the copy of a machine that has booted. `Ready`: the executor has said so, and is told its job.
 * `Collecting`: the builder has ended, outputs are read.
 */
export type Stage =
  | "Reserving"
  | "Preparing"
  | "Booting"
  | "Restoring"
  | "Ready"
  | "Running"
  | "Collecting"
  | "Releasing"

export interface Life {
  readonly stage: Stage
  /** In this stage. */
  readonly turns: number
  /** Since anything was heard. */
  readonly silentTurns: number
}

/** Why a machine is given up, in words. */
export class GivenUp {
  readonly _tag = "GivenUp"
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

interface Row {
  readonly leadsTo: ReadonlyArray<Stage>
  /** Seconds; null where others keep the time, or nobody. */
  readonly within: { readonly [A in Accelerator]: number } | null
  /** Whether the executor says every second that it lives. */
  readonly beats: boolean
  readonly name: string
}

const either = (seconds: number) => ({ kvm: seconds, tcg: seconds })

/** A build's own time is its waiters' business, and outputs end when their bytes do. */
export const table: { readonly [S in Stage]: Row } = {
  Reserving: { leadsTo: ["Preparing"], within: either(10), beats: false, name: "being reserved" },
  Preparing: { leadsTo: ["Booting", "Restoring"], within: either(60), beats: false, name: "being prepared" },
  Booting: { leadsTo: ["Ready"], within: { kvm: 10, tcg: 60 }, beats: false, name: "booting" },
  // Whoever waits for it boots after that, if it has come to nothing.
  Restoring: { leadsTo: ["Ready"], within: { kvm: 3, tcg: 10 }, beats: false, name: "being restored" },
  Ready: { leadsTo: ["Running"], within: either(60), beats: true, name: "being told its job" },
  Running: { leadsTo: ["Collecting"], within: null, beats: true, name: "running" },
  Collecting: { leadsTo: [], within: null, beats: true, name: "sending outputs" },
  Releasing: { leadsTo: [], within: either(30), beats: false, name: "ending" }
}

/** Beats come every second; an emulated machine on a crowded host may be late by a few. */
export const silentTurnsMax = 10

export const start: Life = { stage: "Reserving", turns: 0, silentTurns: 0 }

/** Comes to a stage. Any may be followed by the end, and by no other but the next. */
export const reach = (life: Life, stage: Stage): Life | GivenUp =>
  stage === "Releasing" || table[life.stage].leadsTo.includes(stage)
    ? { stage, turns: 0, silentTurns: 0 }
    : new GivenUp(`it was ${table[life.stage].name} when it came to be ${table[stage].name}`)

/** A second has passed. */
export const turn = (life: Life, accelerator: Accelerator, hasHeard: boolean): Life | GivenUp => {
  const { beats, name, within } = table[life.stage]
  const turns = life.turns + 1
  const silentTurns = hasHeard || !beats ? 0 : life.silentTurns + 1
  if (within !== null && turns > within[accelerator]) {
    return new GivenUp(`it has been ${name} for more than ${within[accelerator]} s`)
  }
  return silentTurns >= silentTurnsMax
    ? new GivenUp(`nothing was heard of it for ${silentTurns} s`)
    : { stage: life.stage, turns, silentTurns }
}
