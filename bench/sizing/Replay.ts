/** What becomes of the builds of a history under a policy. */
import type { Measured } from "../../src/domain/Sizing.ts"
import { chance, type Demand, type History } from "./Histories.ts"
import { coresFor, type Given, heldOn, type Policy } from "./Policies.ts"

export interface Toll {
  /** Of all builds and of what was begun in vain; and with the cores that are best, enough memory and no repeats. */
  seconds: number
  secondsBest: number
  /** Lent, and of that used. */
  byteSecondsLent: number
  byteSecondsUsed: number
  coreSecondsLent: number
  coreSecondsUsed: number
  /** Attempts that ran out of memory. */
  repeats: number
  builds: number
}

/** A build that has no room for its files reads them again: as much longer it takes at the worst. */
const withoutFiles = 0.1

/** Of the most that a build holds, what is seen of it at the least: it is only looked at so often. */
const seenLeast = 0.8

const run = (
  demand: Demand,
  given: Given
): { readonly seconds: number; readonly held: number; readonly peak: number } => {
  const cores = Math.min(given.cores, demand.coresMax)
  const held = heldOn(demand, cores)
  const room = Math.max(0, Math.min(given.memoryBytes - held, demand.filesBytes))
  const missing = demand.filesBytes === 0 ? 0 : 1 - room / demand.filesBytes
  return {
    seconds: (demand.alone + demand.together / cores) * (1 + withoutFiles * missing),
    held,
    peak: Math.min(held + demand.filesBytes, given.memoryBytes)
  }
}

export const replay = ({ demands }: History, policy: Policy): Toll => {
  const random = chance(99)
  const toll: Toll = {
    ...{ seconds: 0, secondsBest: 0, byteSecondsLent: 0, byteSecondsUsed: 0, coreSecondsLent: 0, coreSecondsUsed: 0 },
    ...{ repeats: 0, builds: demands.length }
  }
  let past: ReadonlyArray<Measured> = []
  const remember = (outcome: Measured["outcome"], given: Given, seen: Partial<Measured>) => {
    const nothing = { memoryPeakBytes: null, memoryHeldBytes: null, cpuMicroseconds: null, runMilliseconds: null }
    past = [{ outcome, ...given, ...nothing, ...seen }, ...past].slice(0, 12)
  }
  const lend = (given: Given, seconds: number) => {
    toll.seconds += seconds
    toll.byteSecondsLent += given.memoryBytes * seconds
    toll.coreSecondsLent += given.cores * seconds
  }

  for (const demand of demands) {
    const before = past
    let given = policy.give(past, demand)
    let made = run(demand, given)
    while (made.held > given.memoryBytes) {
      lend(given, made.seconds * random())
      remember("out-of-memory", given, { memoryPeakBytes: given.memoryBytes })
      toll.repeats++
      given = { ...given, memoryBytes: policy.more(given.memoryBytes, before) }
      made = run(demand, given)
    }
    lend(given, made.seconds)
    toll.secondsBest += demand.alone + demand.together / coresFor(demand)
    toll.byteSecondsUsed += made.held * made.seconds
    toll.coreSecondsUsed += demand.alone + demand.together
    remember("succeeded", given, {
      memoryPeakBytes: Math.round(made.peak),
      memoryHeldBytes: Math.round(made.held * (seenLeast + (1 - seenLeast) * random())),
      cpuMicroseconds: Math.round((demand.alone + demand.together) * 1e6),
      runMilliseconds: Math.round(made.seconds * 1e3)
    })
  }
  return toll
}
