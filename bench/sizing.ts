/**
 * How well builds are given their cores and memory, over histories that are generated and one that is recorded:
 *
 *   node bench/sizing.ts
 *
 * `memory` and `cores`: lent for each that was used. `time`: of all builds, for each second that they take under who
 * knows the future. `repeats`: attempts that ran out of memory, of a hundred builds.
 */
import * as Figures from "./Figures.ts"
import { generated, type History, recorded } from "./sizing/Histories.ts"
import { policies } from "./sizing/Policies.ts"
import { replay } from "./sizing/Replay.ts"

const rows = (history: History): ReadonlyArray<ReadonlyArray<string>> => {
  return policies.map((policy) => {
    const toll = replay(history, policy)
    return [
      `${history.name}, ${policy.name}`,
      (toll.byteSecondsLent / toll.byteSecondsUsed).toFixed(2),
      (toll.coreSecondsLent / toll.coreSecondsUsed).toFixed(2),
      (toll.seconds / toll.secondsBest).toFixed(2),
      ((100 * toll.repeats) / toll.builds).toFixed(1)
    ]
  })
}

const head = ["", "memory", "cores", "time", "repeats"]
process.stdout.write(`${Figures.table([head, ...[...generated, ...recorded()].flatMap(rows)])}\n`)
