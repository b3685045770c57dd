/** Graphs of builds to try an order on: made up from a seed, or as somebody's packages really depend on each other. */
import { readFileSync } from "node:fs"
import * as path from "node:path"

export interface Build {
  /** Numbers of builds that come before it. */
  readonly inputs: ReadonlyArray<number>
  readonly seconds: number
  readonly cores: number
  readonly memoryBytes: number
}

/** Inputs first. */
export type Graph = ReadonlyArray<Build>

const MiB = 2 ** 20

/** Numbers from 0 to 1, the same for the same seed. */
export const chance = (seed: number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}
export type Chance = ReturnType<typeof chance>

/** Most take seconds, few take hours: as builds do. */
const seconds = (random: Chance): number => Math.ceil(5 * Math.exp(1.6 * gauss(random)) + 1)

/** The mean of twelve, which is near enough to it. */
const gauss = (random: Chance): number => Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6)

const one = { cores: 1, memoryBytes: 512 * MiB }

/** Most ask for a core, some for several; memory is whatever history says, so hardly two ask for the same. */
export const size = (random: Chance): Pick<Build, "cores" | "memoryBytes"> => {
  const cores = [1, 1, 1, 1, 1, 1, 2, 2, 4, 8][Math.floor(random() * 10)]!
  return { cores, memoryBytes: Math.ceil((256 + random() * 3500 * Math.sqrt(cores)) * MiB) }
}

/** Layers of equal width: each build needs some of the one before. */
export const layered = (count: number, width: number, seed: number): Graph => {
  const random = chance(seed)
  return Array.from({ length: count }, (_, index) => {
    const layer = Math.floor(index / width) * width
    const fan = layer === 0 ? 0 : 1 + Math.floor(random() * 4)
    const inputs = Array.from({ length: fan }, () => layer - width + Math.floor(random() * width))
    return { inputs: [...new Set(inputs)], seconds: seconds(random), ...size(random) }
  })
}

/** Each needs a few of those shortly before it, and one of the first ones, which all stand on. */
export const tangled = (count: number, seed: number): Graph => {
  const random = chance(seed)
  return Array.from({ length: count }, (_, index) => {
    const fan = index === 0 ? 0 : 1 + Math.floor(random() * 3)
    const near = Array.from({ length: fan }, () => Math.max(0, index - 1 - Math.floor(random() ** 2 * index)))
    return { inputs: [...new Set(near)], seconds: seconds(random), ...size(random) }
  })
}

/** Long thin chains beside a heap of short builds: what comes first matters most here. */
export const chained = (chains: number, length: number, others: number, seed: number): Graph => {
  const random = chance(seed)
  // The heap is asked for first, as whoever lists what is to be built does not know what is long.
  const heap = Array.from({ length: others }, () => ({ inputs: [], seconds: seconds(random), ...one }))
  const links = Array.from({ length: chains * length }, (_, index) => ({
    inputs: index < chains ? [] : [others + index - chains],
    seconds: 30,
    ...one
  }))
  return [...heap, ...links]
}

/**
 * What a desktop is built of, as recorded. How long each takes is not on record: it is supposed to go with the root of
 * its sources' size, from half a minute for the smallest to some fifty minutes.
 */
export const recorded = (): Graph => {
  const text = readFileSync(path.join(import.meta.dirname, "data/debian-12.txt"), "utf8")
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
  return lines.map((line, index) => {
    const [, kilobytes, ...before] = line.split(" ")
    return {
      inputs: before.map((distance) => index - Number(distance)),
      seconds: Math.round(20 + 60 * Math.sqrt(Number(kilobytes) / 1000)),
      ...one
    }
  })
}
