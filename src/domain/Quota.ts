/**
 * How much of the service one account may have at a time, so that it cannot fill it for the others.
 *
 * Each quota is said once: its name, what it counts, what an account gets that nobody has said anything of. Null is no
 * quota. What is counted is the account's own use: bytes stored are those of all that its view holds, whether or not
 * another view holds the same.
 */
import { Schema } from "effect"

interface Row {
  /** For the operator, after "at most so many". */
  readonly counts: string
  readonly unit: "count" | "bytes" | "bytes a second"
  readonly standard: number | null
}

const rows = {
  /** Without it, one client takes every descriptor and the memory of every connection. */
  connections: { counts: "SSH connections open at a time", unit: "count", standard: 2048 },
  /** Without it, one client fills the memory that holds what waits. */
  builds: { counts: "builds asked for and not yet answered", unit: "count", standard: 20_000 },
  /** None: what nobody else wants may be had, and what somebody wants is shared by the scheduler. */
  running: { counts: "builds running at a time", unit: "count", standard: null },
  /** No bound but a measure: twice as many, twice the room, where others want it too. */
  share: { counts: "parts of the room that several accounts want", unit: "count", standard: 1 },
  /** A quarter of the file system where nobody has said anything, which only the server knows. */
  stored: { counts: "bytes of NARs in the account's store", unit: "bytes", standard: null },
  /** Without it, one build that writes for ever fills the disk. */
  log: { counts: "bytes of one build's log", unit: "bytes", standard: 4 * 2 ** 30 },
  upload: { counts: "bytes received", unit: "bytes a second", standard: null },
  download: { counts: "bytes sent", unit: "bytes a second", standard: null }
} as const satisfies { readonly [name: string]: Row }

export const QuotaName = Schema.Literals([
  "connections",
  "builds",
  "running",
  "share",
  "stored",
  "log",
  "upload",
  "download"
])
export type QuotaName = typeof QuotaName.Type

export const table: { readonly [N in QuotaName]: Row } = rows

/** In the order in which they are listed. */
export const names: ReadonlyArray<QuotaName> = QuotaName.literals

/** Null where there is none. */
export type Quota = { readonly [N in QuotaName]: number | null }

/** What the operator has said of one account. */
export type Overrides = { readonly [N in QuotaName]?: number | null }

/** What an account has of which nothing is said. */
export const standard = (storedBytes: number | null): Quota => ({
  connections: rows.connections.standard,
  builds: rows.builds.standard,
  running: rows.running.standard,
  share: rows.share.standard,
  stored: storedBytes,
  log: rows.log.standard,
  upload: rows.upload.standard,
  download: rows.download.standard
})

/** An account has come to the end of what it may have. */
export class QuotaReached extends Schema.TaggedError<QuotaReached>()("QuotaReached", {
  quota: QuotaName,
  account: Schema.String,
  max: Schema.Finite,
  /** What it would come to. */
  found: Schema.Finite
}) {
  override get message() {
    const { counts } = table[this.quota]
    return `the account '${this.account}' may have at most ${this.max} ${counts}, and this would make it ${this.found}`
  }
}
