/**
 * Control groups for attempts, below those that the starter made over to us: limits of memory, CPU and processes, and
 * what was used of them.
 *
 * Version 1 has a hierarchy for each controller, version 2 one for all. What is not there limits nothing, and `has`
 * says so.
 */
import { Effect, Schedule } from "effect"
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
  /** The most that was seen at once of what could not have been given back. */
  readonly memoryHeldBytes: number | null
  readonly cpuUserMicroseconds: number | null
  readonly cpuSystemMicroseconds: number | null
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
    may: [
      ["memory.swap.max", () => "0"],
      // All of it at once, so that what is left has no last words about it in the log.
      ["memory.oom.group", () => "1"]
    ]
  }
}

/** How often it is looked how much a build holds: the kernel counts the peak of all, and of this only what there is. */
const lookMilliseconds = 500

/** Where what is counted stands. `held`: of memory.stat, what is neither a file's nor a cache's, and so has to stay. */
const memoryCounters: {
  readonly [controller: string]: { readonly kills: string; readonly peak: string; readonly held: RegExp }
} = {
  memory: {
    kills: "memory.oom_control",
    peak: "memory.max_usage_in_bytes",
    held: /^(?:total_rss|total_shmem) (\d+)$/gm
  },
  unified: {
    kills: "memory.events",
    peak: "memory.peak",
    held: /^(?:anon|shmem|pagetables|kernel_stack|slab_unreclaimable) (\d+)$/gm
  }
}

/** Version 1 counts in nanoseconds, where `cpuacct` came along with `cpu`. */
const cpuCounters: {
  readonly [controller: string]: { readonly user: Counter; readonly system: Counter; readonly perMicrosecond: number }
} = {
  cpu: {
    user: ["cpuacct.usage_user", /^(\d+)$/m],
    system: ["cpuacct.usage_sys", /^(\d+)$/m],
    perMicrosecond: 1000
  },
  unified: {
    user: ["cpu.stat", /^user_usec (\d+)$/m],
    system: ["cpu.stat", /^system_usec (\d+)$/m],
    perMicrosecond: 1
  }
}
type Counter = readonly [file: string, pattern: RegExp]

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
  let memoryHeldBytes: number | null = null
  const look = Effect.sync(() => {
    const held = heldNow(made)
    if (held !== null) memoryHeldBytes = Math.max(memoryHeldBytes ?? 0, held)
  })
  yield* look.pipe(Effect.repeat(Schedule.spaced(lookMilliseconds)), Effect.forkScoped)
  return {
    entrances: made.map(({ directory }) => path.join(directory, "cgroup.procs")),
    counted: Effect.sync((): Counted => ({ ...countMemory(made), ...countCpu(made), memoryHeldBytes }))
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

const memoryOf = (groups: ReadonlyArray<ControlGroup>) => {
  const group = groups.find(({ controller }) => memoryCounters[controller] !== undefined)
  const counters = memoryCounters[group?.controller ?? ""]
  return group === undefined || counters === undefined ? null : { directory: group.directory, ...counters }
}

const countMemory = (groups: ReadonlyArray<ControlGroup>): Pick<Counted, "oomKills" | "memoryPeakBytes"> => {
  const memory = memoryOf(groups)
  if (memory === null) return { oomKills: null, memoryPeakBytes: null }
  return {
    oomKills: numberIn(readText(path.join(memory.directory, memory.kills)), /^oom_kill (\d+)$/m),
    memoryPeakBytes: numberIn(readText(path.join(memory.directory, memory.peak)), /^(\d+)$/m)
  }
}

const heldNow = (groups: ReadonlyArray<ControlGroup>): number | null => {
  const memory = memoryOf(groups)
  const text = memory === null ? null : readText(path.join(memory.directory, "memory.stat"))
  if (memory === null || text === null) return null
  return [...text.matchAll(memory.held)].reduce((sum, [, bytes]) => sum + Number(bytes), 0)
}

const countCpu = (groups: ReadonlyArray<ControlGroup>) => {
  const group = groups.find(({ controller }) => cpuCounters[controller] !== undefined)
  const counters = cpuCounters[group?.controller ?? ""]
  const read = ([file, pattern]: Counter): number | null => {
    const found = numberIn(readText(path.join(group?.directory ?? "", file)), pattern)
    return found === null ? null : Math.round(found / (counters?.perMicrosecond ?? 1))
  }
  return {
    cpuUserMicroseconds: counters === undefined ? null : read(counters.user),
    cpuSystemMicroseconds: counters === undefined ? null : read(counters.system)
  }
}

/** Processes that this machine has killed for lack of memory, whoever's they were. */
export const machineOomKills: Effect.Effect<number | null> = Effect.sync(() =>
  numberIn(readText("/proc/vmstat"), /^oom_kill (\d+)$/m)
)
