/**
 * How much a build gets: cores and memory, from what earlier ones like it were seen to use. Pure.
 *
 * The nearest history counts that says anything: that of the same build, else of the same name and version, else of the
 * same name; and where there is none, a default. Bounds of the client's own come last, and then the hosts' room.
 *
 * Memory. What a build held is a need; what its control group counted at its peak also has files in it that were kept
 * because there was room. A need is given with headroom, and the largest of the last few counts, so that one large
 * build is enough to be believed and a small one is not. To give too little costs a whole run, to give too much costs
 * memory for the time of one; where a build ran out of memory, less than what was enough after that is never given.
 *
 * Cores. From its processor time W in a time T on c cores a build has a part that runs on one core, S = (cT − W)/(c − 1),
 * and one that runs on all, P = W − S. On c cores it takes S + P/c. With c = P/S the product of the cores it is given,
 * its time, and its time once more is the least: with more it soon gains nothing, with fewer it is slow. That is the
 * same number on however many cores it was measured, so a build is not given fewer each time it leaves some idle. One
 * core tells nothing of this: a build that keeps it busy for long is given two, to see.
 */
import { Context, Schema } from "effect"
import { Outcome } from "./Attempt.ts"

/** How much a build gets that asks for nothing in particular, and of which nothing is known. */
export const Sizing = Context.Reference<{ readonly cores: number; readonly memoryBytes: number }>(
  "drover/domain/Sizing",
  { defaultValue: () => ({ cores: 1, memoryBytes: 2 * 2 ** 30 }) }
)

/** An attempt that has ended: what it was given, and what it used of it, as far as that is known. */
export const Measured = Schema.Struct({
  outcome: Outcome,
  cores: Schema.Int,
  memoryBytes: Schema.Int,
  memoryPeakBytes: Schema.NullOr(Schema.Int),
  memoryHeldBytes: Schema.NullOr(Schema.Int),
  cpuMicroseconds: Schema.NullOr(Schema.Int),
  runMilliseconds: Schema.NullOr(Schema.Int)
})
export type Measured = typeof Measured.Type

/** The last attempts at builds that are more and more unlike the one in question, each list with the newest first. */
export interface History {
  readonly identity: ReadonlyArray<Measured>
  readonly version: ReadonlyArray<Measured>
  readonly name: ReadonlyArray<Measured>
}

/** What a client asks for; null where it leaves it to us. */
export interface Wishes {
  readonly coresMin: number | null
  readonly coresMax: number | null
  readonly coresDefault: number | null
  readonly memoryBytesMin: number | null
  readonly memoryBytesMax: number | null
  readonly memoryBytesDefault: number | null
}

/** What the hosts that could run it have for one build. */
export interface Room {
  readonly coresMax: number
  readonly memoryBytesMax: number
  /** What each of them has. */
  readonly memoryBytesMin: number
}

export interface Size {
  readonly cores: number | "all"
  readonly memoryBytes: number
  /** What it gets at least if that was too little: what the largest of its like needed. */
  readonly memoryBytesNext: number
  /** What it may get in the end. */
  readonly memoryBytesMax: number
  /** What keeps it there, for whoever needs more. */
  readonly ceiling: string
  /** How long it may take; zero where nothing is known. */
  readonly seconds: number
}

/** Below it every build is small, and to tell them apart gains nothing. */
const memoryBytesFloor = 256 * 2 ** 20

/** Attempts that are looked at. With more, a build that has become smaller is long given too much. */
export const memoryWindow = 3
const coresWindow = 3

/** What a need is given beyond itself: builds of one name differ, and a moment's need goes unseen. */
const headroom = 1.25
const headroomBytes = 64 * 2 ** 20

/** Of the files that were kept because there was room, how much is given room again: none would slow it down. */
const keptShare = 0.25

/** A shorter build says too little of how it uses cores, and gains too little by more. */
const tellingMilliseconds = 5000

/** Of its one core, what a build must use to be given a second. */
const busy = 0.9

/** How far it is believed that a build goes on to use more cores than it was ever seen on. */
const coresGrowth = 4

// -----------------------------------------------------------------------------
// the whole
// -----------------------------------------------------------------------------

export const size = (
  history: History,
  build: { readonly isParallel: boolean },
  wishes: Wishes,
  room: Room,
  defaults: { readonly cores: number; readonly memoryBytes: number }
): Size => {
  const cores = coresOf(history, build, wishes, room, defaults.cores)
  const known = memoryOf(history, cores === "all" ? room.coresMax : cores)
  // Nobody else has a use for the memory of a host all of whose cores are taken.
  const otherwise = wishes.memoryBytesDefault ?? (cores === "all" ? room.memoryBytesMin : defaults.memoryBytes)
  const least = wishes.memoryBytesMin ?? 0
  const wished = Math.max(known.isEnough ? known.bytes : Math.max(known.bytes, otherwise), least)
  // Who asks for more than there is, is to be told so, and not to be given less.
  const memoryBytesMax = Math.max(Math.min(wishes.memoryBytesMax ?? Infinity, room.memoryBytesMax), least)
  return {
    cores,
    memoryBytes: Math.min(wished, memoryBytesMax),
    memoryBytesNext: Math.min(known.most, memoryBytesMax),
    memoryBytesMax,
    ceiling:
      (wishes.memoryBytesMax ?? Infinity) < room.memoryBytesMax
        ? "its client lets it have no more: DROVER_MAX_MEM says how much"
        : "no host of this service has more for one build",
    seconds: secondsOf(history)
  }
}

/** What follows on not enough memory; null if it had as much as it may. */
export const more = (
  memoryBytes: number,
  { memoryBytesMax, memoryBytesNext }: Pick<Size, "memoryBytesMax" | "memoryBytesNext">
): number | null =>
  memoryBytes < memoryBytesMax ? Math.min(Math.max(rounded(memoryBytes * 2), memoryBytesNext), memoryBytesMax) : null

/** The next of 256M, 320M, 384M, 448M, 512M, 640M, …: in steps of at most a quarter, so that sizes are few. */
const rounded = (bytes: number): number => {
  if (bytes <= memoryBytesFloor) return memoryBytesFloor
  const step = 2 ** Math.floor(Math.log2(bytes)) / 4
  return Math.ceil(bytes / step) * step
}

// -----------------------------------------------------------------------------
// memory
// -----------------------------------------------------------------------------

const succeeded = ({ outcome }: Measured) => outcome === "succeeded"
const starved = ({ outcome }: Measured) => outcome === "out-of-memory"

/** The nearest history with a word to say: an attempt that was not let finish says little of one that is. */
const nearest = ({ identity, name, version }: History): ReadonlyArray<Measured> =>
  [identity, version, name].find((tier) => tier.some((each) => succeeded(each) || starved(each))) ?? []

const memoryOf = (
  history: History,
  cores: number
): { readonly bytes: number; readonly isEnough: boolean; readonly most: number } => {
  const tier = nearest(history)
  const beyond = tier.filter(succeeded)[memoryWindow]
  const recent = beyond === undefined ? tier : tier.slice(0, tier.indexOf(beyond))
  const successes = recent.filter(succeeded)
  // A build that did not come to its end may have needed more, but no less.
  const needs = recent.filter((each) => !starved(each)).map((each) => need(each, cores))
  const tooLittle = Math.max(0, ...recent.filter(starved).map(({ memoryBytes }) => memoryBytes))
  const enough = successes.map(({ memoryBytes }) => memoryBytes).filter((bytes) => bytes > tooLittle)
  const proven = tooLittle === 0 ? 0 : enough.length > 0 ? Math.min(...enough) : rounded(2 * tooLittle)
  const most = Math.max(0, ...tier.filter(succeeded).map((each) => need(each, cores)))
  const bytes = Math.max(0, proven, ...needs)
  return { bytes: bytes === 0 ? 0 : rounded(bytes), isEnough: successes.length > 0, most: rounded(most) }
}

const need = (measured: Measured, cores: number): number => {
  const { memoryBytes, memoryHeldBytes, memoryPeakBytes } = measured
  // Of a machine it is only known what its executor said, and whoever got hold of that may say anything.
  const peak = Math.min(memoryPeakBytes ?? memoryBytes, memoryBytes)
  // What was given is known to have been enough, and perhaps all of it was needed.
  if (memoryHeldBytes === null) return peak
  const held = Math.min(memoryHeldBytes, memoryBytes)
  // On more cores more is held at once.
  const heldThen = held * Math.max(1, cores / measured.cores)
  return heldThen * headroom + headroomBytes + Math.max(0, peak - held) * keptShare
}

// -----------------------------------------------------------------------------
// cores
// -----------------------------------------------------------------------------

const coresOf = (
  history: History,
  { isParallel }: { readonly isParallel: boolean },
  wishes: Wishes,
  room: Room,
  otherwise: number
): number | "all" => {
  if (isParallel && wishes.coresMax === null) return "all"
  const least = wishes.coresMin ?? 1
  const most = Math.max(Math.min(wishes.coresMax ?? Infinity, room.coresMax), least)
  const usual = isParallel ? most : (wishes.coresDefault ?? otherwise)
  const telling = nearest(history).filter(isTelling)
  const seen = telling.filter(({ cores }) => cores > 1).slice(0, coresWindow)
  const wished = seen.length > 0 ? Math.max(...seen.map(worthwhile)) : telling.some(isBusy) ? 2 : usual
  return Math.min(Math.max(wished, least), most)
}

const isTelling = (measured: Measured): boolean =>
  succeeded(measured) && measured.cpuMicroseconds !== null && (measured.runMilliseconds ?? 0) >= tellingMilliseconds

const seconds = ({ cpuMicroseconds, runMilliseconds }: Measured) => ({
  cpu: (cpuMicroseconds ?? 0) / 1e6,
  run: (runMilliseconds ?? 0) / 1e3
})

const isBusy = (measured: Measured): boolean => {
  const { cpu, run } = seconds(measured)
  return cpu / (run * measured.cores) >= busy
}

/** The cores for which cores, time and time again multiply to the least, of a build seen on more than one. */
const worthwhile = (measured: Measured): number => {
  const { cpu, run } = seconds(measured)
  const { cores } = measured
  const alone = Math.max((cores * run - cpu) / (cores - 1), 0)
  const together = Math.max(cpu - alone, 0)
  return Math.max(1, Math.floor(Math.min(together / alone, coresGrowth * cores)))
}

// -----------------------------------------------------------------------------
// time
// -----------------------------------------------------------------------------

const secondsOf = (history: History): number => {
  const times = nearest(history)
    .filter(succeeded)
    .slice(0, memoryWindow)
    .map((each) => seconds(each).run)
    .toSorted((one, other) => one - other)
  return times[Math.floor(times.length / 2)] ?? 0
}
