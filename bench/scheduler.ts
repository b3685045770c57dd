/**
 * The scheduler alone: how long a decision takes, and how good the order is.
 *
 *   node bench/scheduler.ts [--only decisions|makespan]
 *
 * Nothing is built: builds take as long as they are said to, in a time of their own. What is printed is read with
 * `docs/operating/bench.md`.
 */
import { Schema } from "effect"
import { execFileSync } from "node:child_process"
import { parseArgs } from "node:util"
import * as Farm from "./Farm.ts"
import * as Graphs from "./Graphs.ts"

const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    /** Which of the sizes to measure, in this process. */
    size: { type: "string" }
  }
})

const table = (rows: ReadonlyArray<ReadonlyArray<string>>) => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) {
    console.log(
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  ")
    )
  }
  console.log()
}

const count = (value: number) => value.toLocaleString("en")

interface Size {
  readonly hosts: number
  readonly waiting: number
  readonly known: number
  readonly accounts: number
  /** Whether builds ask for any number of cores that a host has, which hardly any do. */
  readonly isMotley: boolean
}

const usual = { accounts: 50, isMotley: false }
const sizes: ReadonlyArray<Size> = [
  { hosts: 100, waiting: 3_500, known: 27_300, ...usual },
  { hosts: 100, waiting: 35_000, known: 273_000, ...usual },
  { hosts: 1_000, waiting: 3_500, known: 273_000, ...usual },
  { hosts: 1_000, waiting: 35_000, known: 273_000, ...usual },
  { hosts: 1_000, waiting: 35_000, known: 273_000, accounts: 5_000, isMotley: true }
]

/** A farm of which every host is full, and so many wait; then as many builds end as there were waiting at first. */
const decisions = ({ accounts, hosts, isMotley, known, waiting }: Size): ReadonlyArray<string> => {
  const layered = Graphs.layered(known, waiting + hosts * 16, 1)
  const graph = isMotley ? layered.map((build, index) => ({ ...build, cores: 1 + (index % 32) })) : layered
  const paths = Farm.ranks(graph, (build) => graph[build]!.seconds)
  const wall: Array<number> = []
  const cpu: Array<number> = []
  const farm = new Farm.Farm(
    Farm.hosts(hosts, 32, 4),
    { graph, paths, account: (build) => `account${build % accounts}`, rank: (build) => paths.rank(build) },
    (milliseconds, own) => {
      wall.push(milliseconds)
      cpu.push(own)
    }
  )
  wall.length = 0
  cpu.length = 0
  const counts = [farm.asked - farm.begun]
  while (wall.length < 30_000 && farm.next()) counts.push(farm.asked - farm.begun)
  const quantile = (times: ReadonlyArray<number>, part: number) => {
    const sorted = times.toSorted((a, b) => a - b)
    return `${sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!.toFixed(3)} ms`
  }
  return [
    `${count(hosts)} hosts, ${count(Math.min(...counts))}–${count(Math.max(...counts))} of ${count(known)} waiting${isMotley ? ", motley" : ""}`,
    count(wall.length),
    ...[0.5, 0.99, 1].map((part) => quantile(wall, part)),
    ...[0.99, 1].map((part) => quantile(cpu, part)),
    ...memory()
  ]
}

/** What is in use once what is not has been collected, and what the process takes. */
const memory = (): ReadonlyArray<string> => {
  const { rss } = process.memoryUsage()
  globalThis.gc?.()
  return [process.memoryUsage().heapUsed, rss].map((bytes) => `${Math.round(bytes / 2 ** 20)} MB`)
}

/** Of a heap that may not grow, so that what the process takes is not what it was allowed to leave lying about. */
const frugal = ["--expose-gc", "--max-old-space-size=200", "--max-semi-space-size=8"]

/** Each size in a process of its own: memory that one has had is not the next one's. */
const alone = (index: number): ReadonlyArray<string> => {
  const [, script] = process.argv
  const output = execFileSync(process.execPath, [...frugal, script!, "--size", String(index)], { encoding: "utf8" })
  return Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))(output)
}

const kinds: ReadonlyArray<readonly [string, Graphs.Graph, number]> = [
  ["recorded, 32 cores", Graphs.recorded(), 32],
  ["recorded, 128 cores", Graphs.recorded(), 128],
  ["layers of 200, 64 cores", Graphs.layered(10_000, 200, 2), 64],
  ["tangled, 64 cores", Graphs.tangled(10_000, 3), 64],
  ["tangled, 512 cores", Graphs.tangled(10_000, 4), 512],
  ["chains beside a heap, 64 cores", Graphs.chained(20, 200, 40_000, 5), 64]
]

const makespans = (name: string, graph: Graphs.Graph, cores: number): ReadonlyArray<string> => {
  const hosts = Farm.hosts(cores / 16, 16, 4)
  const known = Farm.ranks(graph, (build) => graph[build]!.seconds)
  const random = Graphs.chance(7)
  const wrong = graph.map(({ seconds }) => seconds * 4 ** (random() * 2 - 1))
  const guessed = Farm.ranks(graph, (build) => wrong[build]!)
  const work = graph.reduce((sum, { cores, seconds }) => sum + cores * seconds, 0)
  const longest = Math.max(...graph.map((_, build) => known.rank(build)))
  const bound = Math.max(longest, work / cores)
  const of = (rank: (build: number) => number) =>
    `${(Farm.makespan(hosts, { graph, paths: known, account: () => "account", rank }) / bound).toFixed(3)}`
  return [
    name,
    `${count(Math.round(bound))} s`,
    longest >= work / cores ? "path" : "work",
    of(() => 0),
    // As many seconds as builds wait for it: a scale on which waiting long counts for little.
    of((build) => known.dependents(build).length * 1000),
    of((build) => known.rank(build)),
    of((build) => guessed.rank(build))
  ]
}

const size = sizes[Number(options.size)]
if (size !== undefined) {
  console.log(JSON.stringify(decisions(size)))
  process.exit()
}
if (options.only !== "makespan") {
  console.log("How long the scheduler takes over one message: on the clock, and of a processor\n")
  table([
    ["", "messages", "p50", "p99", "max", "p99, CPU", "max, CPU", "in use", "RSS"],
    ...sizes.map((_, index) => alone(index))
  ])
}
if (options.only !== "decisions") {
  console.log("How long it takes until all is built, by the larger of the longest path and all work by all cores\n")
  table([
    ["", "bound", "by", "first come", "most wanted", "critical path", "estimates wrong"],
    ...kinds.map(([name, graph, cores]) => makespans(name, graph, cores))
  ])
}
