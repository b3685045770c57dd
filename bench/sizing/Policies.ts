/** Ways of giving builds their cores and memory, ours among them. */
import * as Sizing from "../../src/domain/Sizing.ts"
import type { Demand } from "./Histories.ts"

export interface Given {
  readonly cores: number
  readonly memoryBytes: number
}

export interface Policy {
  readonly name: string
  /** `past`: earlier attempts, the newest first. `next` is for who knows the future. */
  readonly give: (past: ReadonlyArray<Sizing.Measured>, next: Demand) => Given
  readonly more: (memoryBytes: number, past: ReadonlyArray<Sizing.Measured>) => number
}

export const host = { coresMax: 64, memoryBytesMax: 128 * 2 ** 30, memoryBytesMin: 128 * 2 ** 30 }
const defaults = { cores: 1, memoryBytes: 2 * 2 ** 30 }

const nothing = {
  coresMin: null,
  coresMax: null,
  coresDefault: null,
  memoryBytesMin: null,
  memoryBytesMax: null,
  memoryBytesDefault: null
}

const more = (memoryBytes: number) => Math.min(memoryBytes * 2, host.memoryBytesMax)

const sizeBy = (past: ReadonlyArray<Sizing.Measured>) =>
  Sizing.size({ identity: [], version: [], name: past }, { isParallel: false }, nothing, host, defaults)

const drover: Policy = {
  name: "drover",
  give: (past) => {
    const { cores, memoryBytes } = sizeBy(past)
    return { cores: cores === "all" ? host.coresMax : cores, memoryBytes }
  },
  more: (memoryBytes, past) => Sizing.more(memoryBytes, sizeBy(past)) ?? memoryBytes
}

const always: Policy = { name: "default", give: () => defaults, more }

const usedOf = ({ cpuMicroseconds, runMilliseconds }: Sizing.Measured) =>
  (cpuMicroseconds ?? 0) / 1e3 / (runMilliseconds ?? 1)

/** What is known of the model: the peak and the use of what was given, of many builds, somewhat more than usual. */
const middling = (name: string, middle: (values: ReadonlyArray<number>) => number, start: number): Policy => ({
  name,
  give: (past) => {
    const seen = past.filter(({ outcome }) => outcome === "succeeded").slice(0, 10)
    if (seen.length === 0) return { ...defaults, cores: start }
    return {
      cores: Math.max(1, Math.round(middle(seen.map(usedOf)) * 1.2)),
      memoryBytes: Math.max(2 ** 28, middle(seen.map(({ memoryPeakBytes }) => memoryPeakBytes ?? 0)) * 1.2)
    }
  },
  more
})

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length
const half = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Knows what comes. */
const oracle: Policy = {
  name: "oracle",
  give: (_, next) => ({ cores: coresFor(next), memoryBytes: heldOn(next, coresFor(next)) }),
  more
}

/** At which their product with the time and the time again is least. */
export const coresFor = ({ alone, coresMax, together }: Demand) =>
  Math.max(1, Math.min(Math.floor(together / alone), coresMax, host.coresMax))

export const heldOn = ({ heldBytes, heldPerCore }: Demand, cores: number) => heldBytes * (1 + heldPerCore * (cores - 1))

export const policies: ReadonlyArray<Policy> = [
  drover,
  always,
  middling("mean of ten", mean, 2),
  middling("median of ten", half, 2),
  oracle
]
