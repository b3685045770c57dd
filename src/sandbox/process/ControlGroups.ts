/**
 * Control groups for attempts, below those that the starter made over to us: limits of memory, CPU and processes, and
 * what was used of them.
 *
 * Version 1 has a hierarchy for each controller, version 2 one for all. What is not there limits nothing, and `has`
 * says so.
 */
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { SandboxError } from "../SandboxError.ts"

/** As the starter names it: `memory`, `cpu` or `pids` of version 1, or `unified`. */
export interface ControlGroup {
  readonly controller: string
  readonly directory: string
}

export interface Limits {
  readonly memoryBytes: number
  readonly cores: number
  readonly processesMax: number
}

/** What a group has counted; null where nobody counts. */
export interface Counted {
  /** Processes killed for lack of memory within the limit. */
  readonly oomKills: number | null
  readonly memoryPeakBytes: number | null
}

/** The group of one attempt. */
export interface AttemptGroup {
  /** Files that take the number of a process to move into the group. */
  readonly entrances: ReadonlyArray<string>
  readonly counted: Effect.Effect<Counted>
}

/** Of CPU time, in microseconds: short enough that a build at its limit does not stutter. */
const cpuPeriod = 100_000

type Files = ReadonlyArray<readonly [file: string, value: (limits: Limits) => string]>

/** What is written where. A limit of memory includes swap where the kernel accounts for it. */
const settings: { readonly [controller: string]: { readonly must: Files; readonly may: Files } } = {
  memory: {
    must: [["memory.limit_in_bytes", ({ memoryBytes }) => `${memoryBytes}`]],
    may: [["memory.memsw.limit_in_bytes", ({ memoryBytes }) => `${memoryBytes}`]]
  },
  cpu: {
    must: [
      ["cpu.cfs_period_us", () => `${cpuPeriod}`],
      ["cpu.cfs_quota_us", ({ cores }) => `${cores * cpuPeriod}`]
    ],
    may: []
  },
  pids: { must: [["pids.max", ({ processesMax }) => `${processesMax}`]], may: [] },
  unified: {
    must: [
      ["memory.max", ({ memoryBytes }) => `${memoryBytes}`],
      ["cpu.max", ({ cores }) => `${cores * cpuPeriod} ${cpuPeriod}`],
      ["pids.max", ({ processesMax }) => `${processesMax}`]
    ],
    may: [["memory.swap.max", () => "0"]]
  }
}

const counters: { readonly [controller: string]: { readonly kills: string; readonly peak: string } } = {
  memory: { kills: "memory.oom_control", peak: "memory.max_usage_in_bytes" },
  unified: { kills: "memory.events", peak: "memory.peak" }
}

const attempt = <A>(operation: string, run: () => A) =>
  Effect.try({ try: run, catch: (cause) => new SandboxError({ operation, detail: String(cause), cause }) })

/** Kernel files are small and answer at once, so nothing is gained by waiting for them elsewhere. */
const readText = (file: string): string | null => {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    return null
  }
}

const numberIn = (text: string | null, pattern: RegExp): number | null => {
  const found = text === null ? null : pattern.exec(text)
  return found?.[1] === undefined ? null : Number(found[1])
}

/** Whether builds are limited by the controller. */
export const has = (groups: ReadonlyArray<ControlGroup>, controller: string): boolean =>
  groups.some((group) => group.controller === controller || group.controller === "unified")

/** A group that lasts as long as the scope. Closing it needs all its processes to be gone. */
export const make = Effect.fnUntraced(function* (groups: ReadonlyArray<ControlGroup>, name: string, limits: Limits) {
  const made: Array<ControlGroup> = []
  for (const { controller, directory } of groups) {
    const group = { controller, directory: path.join(directory, name) }
    yield* Effect.acquireRelease(
      attempt("making a control group", () => fs.mkdirSync(group.directory)),
      () => Effect.ignore(attempt("removing a control group", () => fs.rmdirSync(group.directory)))
    )
    yield* attempt("limiting a control group", () => setLimits(group, limits))
    made.push(group)
  }
  return {
    entrances: made.map(({ directory }) => path.join(directory, "cgroup.procs")),
    counted: Effect.sync(() => count(made))
  } satisfies AttemptGroup
})

const setLimits = ({ controller, directory }: ControlGroup, limits: Limits) => {
  const { may = [], must = [] } = settings[controller] ?? {}
  for (const [file, value] of must) fs.writeFileSync(path.join(directory, file), value(limits))
  for (const [file, value] of may) {
    // Kernels without it have no swap to limit.
    if (fs.existsSync(path.join(directory, file))) fs.writeFileSync(path.join(directory, file), value(limits))
  }
}

const count = (groups: ReadonlyArray<ControlGroup>): Counted => {
  const group = groups.find(({ controller }) => counters[controller] !== undefined)
  const files = counters[group?.controller ?? ""]
  if (group === undefined || files === undefined) return { oomKills: null, memoryPeakBytes: null }
  return {
    oomKills: numberIn(readText(path.join(group.directory, files.kills)), /^oom_kill (\d+)$/m),
    memoryPeakBytes: numberIn(readText(path.join(group.directory, files.peak)), /^(\d+)$/m)
  }
}

/** Processes that this machine has killed for lack of memory, whoever's they were. */
export const machineOomKills: Effect.Effect<number | null> = Effect.sync(() =>
  numberIn(readText("/proc/vmstat"), /^oom_kill (\d+)$/m)
)
