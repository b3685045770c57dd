/** What /proc tells of this machine's processes, those of sandboxes included. */
import { readdirSync, readFileSync } from "node:fs"

export interface Entry {
  readonly pid: number
  readonly parent: number
  /** Words parted by NUL. */
  readonly command: string
}

const read = (pid: number, file: string) => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1")
  } catch {
    // It has ended since it was listed.
    return null
  }
}

export const list = (): ReadonlyArray<Entry> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const pid = Number(name)
      const [stat, command] = [read(pid, "stat"), read(pid, "cmdline")]
      if (stat === null || command === null) return []
      // A program's name may hold anything, and stands in parentheses; its state follows, and its parent.
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return state === "Z" || state === "X" ? [] : [{ pid, parent: Number(parent), command }]
    })

/** A process and all that descend from it, itself first. */
export const familyOf = (root: number): ReadonlyArray<Entry> => {
  const all = list()
  const children = Map.groupBy(all, ({ parent }) => parent)
  const below = (entry: Entry): Array<Entry> => [entry, ...(children.get(entry.pid) ?? []).flatMap(below)]
  return all.filter(({ pid }) => pid === root).flatMap(below)
}

/** A field of its /proc/PID/status. */
export const statusOf = (pid: number, field: string): string | undefined =>
  read(pid, "status")?.match(new RegExp(`^${field}:[ \\t]*(.*)$`, "m"))?.[1]
