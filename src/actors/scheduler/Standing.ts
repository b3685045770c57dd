/** Where a build stands that waits for a lease, and what it waits for: for its client, and for the operator's list. */
import { HashMap, Option } from "effect"
import type { HostId } from "../../domain/Host.ts"
import type { LeaseId } from "../../domain/Lease.ts"
import * as Size from "../../domain/Size.ts"
import * as Line from "./Line.ts"
import type { Waiting } from "./Order.ts"
import type { Books } from "./Queue.ts"
import * as Room from "./Room.ts"

/**
 * Why it waits. `room`: what could take it is lent to others. `drain`: a host is kept free for it until what runs there
 * has left enough room. `host`: no host that could take it is in service. `quota`: its account runs as many as it may.
 */
export type Reason = "room" | "drain" | "host" | "quota"

export interface Standing {
  readonly lease: LeaseId
  /** How many builds are likely to be given a lease before it: who comes next depends on who ends. */
  readonly before: number
  readonly cores: number | "all"
  readonly memoryBytes: number
  readonly system: string
  readonly features: ReadonlyArray<string>
  readonly reason: Reason
  /** The host that is kept free for it. */
  readonly kept: HostId | null
  /** Milliseconds since the epoch. */
  readonly since: number
}

/** Null for a lease that nobody waits for. */
export const find = (books: Books, lease: LeaseId): Standing | null => {
  const waiting = Line.find(books.line, lease)
  return waiting === null ? null : of(books, waiting)
}

/** Of all who wait, in the order in which they came. */
export const list = (books: Books): ReadonlyArray<Standing> =>
  HashMap.toValues(books.line.waiting)
    .sort((a, b) => a.ordinal - b.ordinal)
    .map((waiting) => of(books, waiting))

/** For 8 cores and 16G on x86_64-linux; 12 builds before it. */
export const words = ({ before, cores, features, memoryBytes, reason, system }: Standing): string => {
  const room = cores === "all" ? "all cores of a host" : cores === 1 ? "1 core" : `${cores} cores`
  const having = features.length === 0 ? "" : ` with ${features.join(", ")}`
  const place = before === 0 ? "" : before === 1 ? "; 1 build before it" : `; ${before} builds before it`
  return `for ${room} and ${Size.print(memoryBytes)} on ${system}${having}${place}${whys[reason]}`
}

const whys: { readonly [R in Reason]: string } = {
  room: "",
  drain: "; a host is being kept free for it",
  host: "; no host that could take it is in service",
  quota: "; its account runs as many builds as it may"
}

const of = ({ kept, line, room }: Books, waiting: Waiting): Standing => {
  const { cores, features, lease, memoryBytes, system } = waiting.need
  const loan = Option.getOrNull(HashMap.get(kept, lease))
  const isServed = Line.takers(line, waiting).some((make) => Room.makeOf(room, make).serving > 0)
  return {
    lease,
    before: loan === null ? Line.countBefore(line, waiting) : 0,
    cores,
    memoryBytes,
    system,
    features,
    reason: loan !== null ? "drain" : isServed ? "room" : "host",
    kept: loan === null ? null : loan.host,
    since: waiting.since
  }
}
