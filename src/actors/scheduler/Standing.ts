/** Where a build stands that waits for a lease, and what it waits for: for its client, and for the operator's list. */
import type { HostId } from "../../domain/Host.ts"
import type { LeaseId } from "../../domain/Lease.ts"
import * as Size from "../../domain/Size.ts"

/**
 * Why it waits. `room`: every host that could take it is lent to others. `turn`: there is room, which others before it
 * wait for. `drain`: a host is kept free for it until what runs there has ended. `host`: none that could take it is in
 * service.
 */
export type Reason = "room" | "turn" | "drain" | "host"

export interface Standing {
  readonly lease: LeaseId
  /** How many builds are likely to be given a lease before it; an estimate, since who comes next depends on who ends. */
  readonly before: number
  readonly cores: number | "all"
  readonly memoryBytes: number
  readonly system: string
  readonly features: ReadonlyArray<string>
  readonly reason: Reason
  /** The host that is kept free for it. */
  readonly reserved: HostId | null
  /** Milliseconds since the epoch. */
  readonly since: number
}

const whys: { readonly [R in Reason]: string } = {
  room: "",
  turn: "",
  drain: "; a host is being kept free for it",
  host: "; no host that could take it is in service at the moment"
}

/** For 8 cores and 16G on x86_64-linux; 12 builds before it. */
export const words = ({ before, cores, features, memoryBytes, reason, system }: Standing): string => {
  const room = `${cores === "all" ? "all cores of a host" : cores === 1 ? "1 core" : `${cores} cores`}`
  const having = features.length === 0 ? "" : ` with ${features.join(", ")}`
  const place = before === 0 ? "" : before === 1 ? "; 1 build before it" : `; ${before} builds before it`
  return `for ${room} and ${Size.print(memoryBytes)} on ${system}${having}${place}${whys[reason]}`
}
