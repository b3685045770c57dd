/**
 * What the builds of one name needed, one after another: generated, each kind by what is to be shown with it, from a
 * seed, and so the same whenever it is asked for; and recorded, see `recorded.json`.
 */
import { readFileSync } from "node:fs"

/** What one build needs, whatever it is given. */
export interface Demand {
  /** At its largest moment, on one core. */
  readonly heldBytes: number
  /** Files that it writes and reads, which are kept as long as there is room. */
  readonly filesBytes: number
  /** Seconds of what only one core can do, and processor seconds of what any number can. */
  readonly alone: number
  readonly together: number
  /** The most cores that it has a use for. */
  readonly coresMax: number
  /** What each further core holds beside, as a share of what one holds. */
  readonly heldPerCore: number
}

export interface History {
  readonly name: string
  readonly demands: ReadonlyArray<Demand>
}

const GiB = 2 ** 30

/** Marsaglia's xorshift32: numbers from 0 to 1 that are the same each time. */
export const chance = (seed: number): (() => number) => {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

const plain: Demand = {
  heldBytes: 0.8 * GiB,
  filesBytes: 0.2 * GiB,
  alone: 60,
  together: 0,
  coresMax: 1,
  heldPerCore: 0
}

const length = 60
const middle = length / 2

const generate = (name: string, seed: number, demand: (index: number, random: () => number) => Demand): History => {
  const random = chance(seed)
  return { name, demands: Array.from({ length }, (_, index) => demand(index, random)) }
}

/** About 1, seldom far from it: e to a sum of uniform chances. */
const about = (random: () => number, spread: number) =>
  Math.exp(spread * (random() + random() + random() + random() - 2) * Math.sqrt(3))

const held = (heldBytes: number): Demand => ({ ...plain, heldBytes })

export const generated: ReadonlyArray<History> = [
  generate("stable", 1, (_, random) => held(0.8 * GiB * about(random, 0.03))),
  generate("noisy", 2, (_, random) => held(0.8 * GiB * about(random, 0.3))),
  generate("jump up", 3, (index, random) => held((index < middle ? 0.8 : 4) * GiB * about(random, 0.05))),
  generate("jump down", 4, (index, random) => held((index < middle ? 4 : 0.8) * GiB * about(random, 0.05))),
  generate("growing", 5, (index, random) => held(0.4 * GiB * 1.04 ** index * about(random, 0.03))),
  generate("one in ten large", 6, (_, random) => held((random() < 0.1 ? 4 : 0.8) * GiB * about(random, 0.05))),
  generate("many files", 7, (_, random) => ({ ...held(0.3 * GiB * about(random, 0.05)), filesBytes: 6 * GiB })),
  // Half of a compilation is configuration; then each core has a compiler of its own.
  generate("compilation", 8, (_, random) => ({
    ...held(0.4 * GiB * about(random, 0.05)),
    alone: 40,
    together: 400 * about(random, 0.1),
    coresMax: 64,
    heldPerCore: 0.5
  })),
  // As a test suite that was sized down from 24 cores and 3 minutes to 6 cores and 8.
  generate("tests", 9, (_, random) => ({
    ...held(1 * GiB * about(random, 0.05)),
    alone: 70,
    together: 2600 * about(random, 0.1),
    coresMax: 24,
    heldPerCore: 0.1
  }))
]

/** Builds that ran, by the tool beside: see there for what they are. */
export const recorded = (): ReadonlyArray<History> =>
  JSON.parse(readFileSync(new URL("./recorded.json", import.meta.url), "utf8"))
