/** Whom a server's death, or that of a part of it, may strike: its processes, by what they are. */
import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import * as ProcessTable from "../support/ProcessTable.ts"

/**
 * `drover`: the server itself. `postgres`: the database's first process, and with it the others. `sandbox`: a virtual
 * machine, or where there is none the first process of a build. `jail`: whoever started that, or what serves its disk.
 */
export type Kind = "drover" | "postgres" | "sandbox" | "jail"

/** The server proper of this data directory, whichever its parents are; undefined where none runs. */
export const serverOf = (data: string): ProcessTable.Entry | undefined => {
  const servers = ProcessTable.list().filter(({ command }) => {
    const words = command.split("\0")
    return words.some((word) => word.endsWith("/src/main.ts")) && words.includes(data)
  })
  // What it starts is called as it is, until it is executed.
  return servers.find(({ parent }) => !servers.some(({ pid }) => pid === parent))
}

const kindOf = ({ command }: ProcessTable.Entry, data: string): Kind | null => {
  const [program = "", ...words] = command.split("\0")
  const name = path.basename(program)
  if (name === "postgres" && words.includes(path.join(data, "postgres"))) return "postgres"
  if (name.startsWith("qemu-system-") || program === "executor") return "sandbox"
  if (name === "launcher" || name === "bwrap") return "jail"
  return words.some((word) => word.endsWith("/blockServer.ts")) ? "jail" : null
}

/** All that there are of a kind at the moment. */
export const find = (kind: Kind, data: string): ReadonlyArray<number> => {
  const server = serverOf(data)
  if (server === undefined) return []
  if (kind === "drover") return [server.pid]
  // A database that an earlier server has left is nobody's child.
  const among = kind === "postgres" ? ProcessTable.list() : ProcessTable.familyOf(server.pid)
  return among.flatMap((entry) => (kindOf(entry, data) === kind ? [entry.pid] : []))
}

/**
 * What is there of servers that are no more: processes that name the data directory or are in a server's control group,
 * groups, mounts, and whatever builds leave in the data directory.
 */
export const leftovers = (data: string, servers: ReadonlyArray<number>): ReadonlyArray<string> => {
  const groups = servers.map((pid) => `drover.${pid}`)
  const isOfGroup = (text: string) =>
    groups.some((group) => new RegExp(`/${group.replace(".", "\\.")}(/|$)`, "m").test(text))
  const processes = ProcessTable.list().flatMap(({ command, pid }) =>
    command.includes(data) || isOfGroup(read(`/proc/${pid}/cgroup`))
      ? [`process ${pid}: ${command.replaceAll("\0", " ").slice(0, 100)}`]
      : []
  )
  const mounts = read("/proc/mounts")
    .split("\n")
    .filter((line) => line.includes(data))
  const remains = ["scratch", "sub-uids", "vms"].flatMap((name) =>
    names(path.join(data, name)).map((each) => `${name}/${each}`)
  )
  return [...processes, ...mounts.map((line) => `mount ${line}`), ...remains]
}

const read = (file: string) => {
  try {
    return readFileSync(file, "latin1")
  } catch {
    // It is gone since it was listed.
    return ""
  }
}

const names = (directory: string) => {
  try {
    return readdirSync(directory)
  } catch {
    // A backend that has not been used has made none.
    return []
  }
}
