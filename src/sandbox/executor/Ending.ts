/** How a builder ended, from what the executor saw and what is known from elsewhere. Pure. */
import type { Exit } from "../Sandbox.ts"
import type { Exited } from "./Frame.ts"

export interface Evidence {
  /** Processes of this build killed at its limit; null where no limit is kept. */
  readonly oomKills: number | null
  /** Whether the machine killed any process for lack of memory meanwhile. */
  readonly machineKilled: boolean
}

/** Below so little a file system is full: what is left is what one more block of metadata would take. */
const scratchBytesMin = 1024 * 1024
const scratchInodesMin = 8

const sigkill = 9

/**
 * A builder that succeeded has succeeded, whatever became of its children. One that failed is forgiven for want of
 * memory or disk if there was such a want.
 */
export const exitOf = (exited: Exited, { machineKilled, oomKills }: Evidence): Exit => {
  const seen = plain(exited)
  if (seen._tag === "NotStarted" || (seen._tag === "Exited" && seen.status === 0)) return seen
  if (oomKills !== null && oomKills > 0) return { _tag: "OutOfMemory", certain: true }
  if (oomKills === null && machineKilled && exited.kind !== "LogClosed" && wasKilled(seen))
    return { _tag: "OutOfMemory", certain: false }
  if (exited.scratchBytesFree < scratchBytesMin || exited.scratchInodesFree < scratchInodesMin) {
    return { _tag: "OutOfScratch" }
  }
  return seen._tag === "Signalled" && seen.signal === sigkill && exited.kind !== "LogClosed" ? { _tag: "Killed" } : seen
}

const plain = ({ kind, value }: Exited): Exit => {
  switch (kind) {
    case "Exited":
      return { _tag: "Exited", status: value }
    case "Signalled":
    case "LogClosed":
      return { _tag: "Signalled", signal: value }
    case "NotStarted":
      return { _tag: "NotStarted", detail: `its program cannot be executed (error ${value})` }
  }
}

/** By SIGKILL, itself or a child of the shell that it is. */
const wasKilled = (exit: Exit) =>
  (exit._tag === "Signalled" && exit.signal === sigkill) || (exit._tag === "Exited" && exit.status === 128 + sigkill)
