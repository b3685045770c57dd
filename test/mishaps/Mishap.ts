/**
 * What may happen to a machine while it builds, and how each has to end. Data, but for chance.
 *
 *     booting   the machine is started, and its executor has not been heard
 *     running   the builder has said its first word
 *     sending   the first bytes of its output have come
 *
 * A strike comes from outside, at a moment that chance chooses. What comes from inside is the builder's own script, in
 * a guest whose nature it takes, and chance says how long it waits.
 */
import type { Nature } from "./Guests.ts"

export type Moment = "booting" | "running" | "sending"

/** What is done from outside. `leave`: nobody waits for the build any more. */
export type Strike = "kill QEMU" | "stop QEMU" | "kill the block server" | "leave"

/** How a build has ended, as far as its machine is concerned. */
export type Class = "exited" | "out-of-memory" | "out-of-scratch" | "refused" | "lost" | "left"

export interface Mishap {
  readonly kind: string
  readonly nature: Nature
  readonly script: string
  readonly strike: Strike | null
  readonly moments: ReadonlyArray<Moment>
  /** Whether the host has next to no room for what a build writes. */
  readonly onFullDisk: boolean
  readonly ends: Class
  readonly says: RegExp
  /** Seconds from the strike, or from the builder's first word, until the build has ended and nothing is left. */
  readonly within: { readonly [M in Moment]?: number }
}

/** The product's own deadlines, and on top of them room for a machine that is shared with whoever else tests. */
const busy = 25
const soon = busy
/** For what has to be written or sent before anything happens: some hundred megabytes, however slow the host is just now. */
const work = 120
/** Ten seconds without a word. */
const silence = 10 + busy
/** Of an emulated machine that says nothing, which has a minute. */
const boot = 60 + busy

const always: ReadonlyArray<Moment> = ["booting", "running", "sending"]

/** It has an output that takes a while to send. */
const busyBuild = "echo ready; usleep 2000000; dd if=/dev/zero of=$out bs=1M count=96"

/** After some moments, fills what memory it has. */
const exhausting = "echo ready; usleep $wait; tail /dev/zero"

const struck = {
  nature: "sound",
  script: busyBuild,
  moments: always,
  onFullDisk: false,
  ends: "lost"
} as const

const own = { strike: null, moments: ["running"], onFullDisk: false } as const

export const mishaps: ReadonlyArray<Mishap> = [
  {
    ...struck,
    kind: "QEMU is killed",
    strike: "kill QEMU",
    says: /QEMU has ended with/,
    within: { booting: soon, running: soon, sending: soon }
  },
  {
    ...struck,
    kind: "QEMU is stopped",
    strike: "stop QEMU",
    says: /nothing was heard of it|booting for more than 60 s/,
    within: { booting: boot, running: silence, sending: silence }
  },
  {
    ...struck,
    kind: "the block server is killed",
    strike: "kill the block server",
    says: /its process has ended/,
    within: { booting: soon, running: soon, sending: soon }
  },
  {
    ...struck,
    kind: "nobody waits any more",
    strike: "leave",
    ends: "left",
    says: /^$/,
    within: { booting: soon, running: soon, sending: soon }
  },
  {
    ...own,
    kind: "the guest panics",
    nature: "panicking",
    script: exhausting,
    ends: "lost",
    says: /it has shut down|it has started again|QEMU has ended/,
    within: { running: work }
  },
  {
    ...own,
    kind: "the guest hangs",
    nature: "hanging",
    script: exhausting,
    ends: "lost",
    says: /nothing was heard of it for 10 s/,
    within: { running: silence + work }
  },
  {
    ...own,
    kind: "the guest says garbage",
    nature: "lying",
    script: ":",
    ends: "lost",
    says: /expected .* found/,
    within: { running: soon }
  },
  {
    ...own,
    kind: "the host's disk is full",
    nature: "sound",
    script: "echo ready; usleep $wait; cat /dev/zero > $out",
    onFullDisk: true,
    ends: "lost",
    says: /the disk of this host is full/,
    within: { running: work }
  },
  {
    ...own,
    kind: "its own disk is full",
    nature: "sound",
    script: "echo ready; usleep $wait; cat /dev/zero > $out",
    ends: "out-of-scratch",
    says: /^$/,
    within: { running: work }
  },
  {
    ...own,
    kind: "its memory is full",
    nature: "sound",
    script: exhausting,
    ends: "out-of-memory",
    says: /^$/,
    within: { running: work }
  },
  {
    ...own,
    kind: "its log is endless",
    nature: "sound",
    script: "echo ready; yes",
    strike: "leave",
    ends: "left",
    says: /^$/,
    within: { running: soon }
  },
  {
    ...own,
    kind: "a file of its output is without end",
    nature: "sound",
    script: "echo ready; usleep $wait; truncate -s 8G $out",
    ends: "refused",
    says: /expected a NAR of at most/,
    within: { running: soon }
  },
  {
    ...own,
    kind: "its output is without end",
    nature: "sound",
    script: "echo ready; usleep $wait; mkdir $out; for name in $(seq 1000); do truncate -s 100M $out/$name; done",
    ends: "refused",
    says: /expected a NAR of at most/,
    within: { running: work }
  }
]

/** Numbers from 0 up to 1, the same ones for a seed. */
export const chance = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One that is to happen: what, when, and after how long. */
export interface Case {
  readonly mishap: Mishap
  readonly moment: Moment
  readonly milliseconds: number
}

/** How long after its moment something happens at the most. */
const waitMillisecondsMax = 1500

/** An emulated machine that is stopped while it boots costs a minute, and is worth that only now and then. */
const isDear = (mishap: Mishap, moment: Moment) => mishap.strike === "stop QEMU" && moment === "booting"
const dearOneIn = 8

const caseOf = (mishap: Mishap, draw: () => number): Case => {
  const affordable =
    draw() < 1 / dearOneIn ? mishap.moments : mishap.moments.filter((moment) => !isDear(mishap, moment))
  const moment = affordable[Math.floor(draw() * affordable.length)] ?? "running"
  return { mishap, moment, milliseconds: Math.floor(draw() * waitMillisecondsMax) }
}

/** So many of a seed, each kind as often as any other; the first come with one of each. */
export const cases = (seed: number, count: number): ReadonlyArray<Case> => {
  const draw = chance(seed)
  return Array.from({ length: count }, (_, index) => caseOf(mishaps[index % mishaps.length]!, draw))
}
