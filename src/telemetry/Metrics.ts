/**
 * Every metric, once: its name, its unit, what it is told apart by, and what one reads from it.
 *
 * Names follow OpenTelemetry: lower case, dots between namespaces, the unit beside the name and not in it, times in
 * seconds. Where it has conventions, for the process and for Node, those hold. What a series is told apart by takes few
 * values, all of them ours: never an account, a system or anything else that a client could make up, since each new one
 * would be kept for good. Metrics are counted whether or not anything is sent, and cost some hundred nanoseconds each.
 *
 * `docs/operating/telemetry.md` has its table from here, and what is in `deploy/` may name nothing else.
 */
import { Effect, Metric } from "effect"
import * as Attributes from "./Attributes.ts"

export interface Declaration {
  readonly name: string
  readonly kind: "counter" | "gauge" | "histogram"
  /** As UCUM has it: `s`, `By`, and in braces what is counted. */
  readonly unit: string
  readonly by: ReadonlyArray<string>
  readonly tells: string
}

const declared: Array<Declaration> = []

/** In the order in which they are declared. */
export const all: ReadonlyArray<Declaration> = declared

type Words = Omit<Declaration, "kind" | "by"> & { readonly by?: ReadonlyArray<string> }

const declare = (kind: Declaration["kind"], { by = [], ...words }: Words) => {
  declared.push({ kind, by, ...words })
  return { description: words.tells, attributes: { unit: words.unit } }
}

const counter = (words: Words) => Metric.counter(words.name, { ...declare("counter", words), incremental: true })

const gauge = (words: Words) => Metric.gauge(words.name, declare("gauge", words))

const histogram = (words: Words & { readonly boundaries: ReadonlyArray<number> }) => {
  const { boundaries, ...rest } = words
  return Metric.histogram(words.name, { ...declare("histogram", rest), boundaries })
}

/** A trivial build takes tenths of a second, a kernel an hour. */
const secondsOfBuilds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1800, 3600, 10_800, 36_000]

/** A statement takes a millisecond; one that waits for a lock or a slow disk, seconds. */
const secondsOfStatements = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]

export const requestDuration = histogram({
  name: "drover.request.duration",
  unit: "s",
  by: [Attributes.reuse],
  tells: "From a client's wish for a build, its upload included, to the answer; the count is that of answers",
  boundaries: secondsOfBuilds
})

export const activeRequests = gauge({
  name: "drover.request.active",
  unit: "{request}",
  tells: "Clients that wait for a build; several may wait for one"
})

export const activeBuilds = gauge({
  name: "drover.build.active",
  unit: "{build}",
  tells: "Builds that have been asked for and have not ended: queued, building or importing"
})

export const buildDuration = histogram({
  name: "drover.build.duration",
  unit: "s",
  by: [Attributes.outcome],
  tells: "From the first request for a build to its end; the count is that of ended builds",
  boundaries: secondsOfBuilds
})

export const stageDuration = histogram({
  name: "drover.build.stage.duration",
  unit: "s",
  by: [Attributes.stage],
  tells:
    "One stage of one attempt: `queue`, the wait for room; `prepare`; `boot`, a part of it: the start of a machine; `run`; `import`",
  boundaries: secondsOfBuilds
})

export const machineStart = histogram({
  name: "drover.machine.start.duration",
  unit: "s",
  by: [Attributes.machineOrigin],
  tells:
    "From the start of a machine until its builder was told to begin, for those that `booted` and those that were `restored`",
  boundaries: secondsOfBuilds
})

export const endedAttempts = counter({
  name: "drover.build.attempts",
  unit: "{attempt}",
  by: [Attributes.outcome],
  tells: "Attempts that have ended; what was `lost` or `out-of-memory` was started again, or given up"
})

export const waitingBuilds = gauge({
  name: "drover.queue.length",
  unit: "{build}",
  by: [Attributes.waitReason],
  tells: "Builds that wait for a lease, by what they wait for"
})

export const activeLeases = gauge({
  name: "drover.lease.active",
  unit: "{lease}",
  by: [Attributes.host],
  tells: "Leases that have been given and not come back"
})

export const hostCores = gauge({
  name: "drover.host.cpu.limit",
  unit: "{cpu}",
  by: [Attributes.host],
  tells: "Cores that a host lends"
})

export const leasedCores = gauge({
  name: "drover.host.cpu.leased",
  unit: "{cpu}",
  by: [Attributes.host],
  tells: "Cores that are lent"
})

export const hostMemory = gauge({
  name: "drover.host.memory.limit",
  unit: "By",
  by: [Attributes.host],
  tells: "Memory that a host lends"
})

export const leasedMemory = gauge({
  name: "drover.host.memory.leased",
  unit: "By",
  by: [Attributes.host],
  tells: "Memory that is lent, what the sandboxes themselves need included"
})

export const restarts = counter({
  name: "drover.supervisor.restarts",
  unit: "{restart}",
  tells: "Parts of this service that had a defect and were started again"
})

export const transferred = counter({
  name: "drover.nar.io",
  unit: "By",
  by: [Attributes.ioDirection],
  tells: "Contents of store paths that clients have sent (`receive`) and fetched (`transmit`), as NARs"
})

export const activeConnections = gauge({
  name: "drover.ssh.connection.active",
  unit: "{connection}",
  tells: "SSH connections, those that have not shown a key yet included"
})

export const endedConnections = counter({
  name: "drover.ssh.connection.ended",
  unit: "{connection}",
  by: [Attributes.connectionEnd],
  tells: "SSH connections that are over: `left`, `silent`, `broken`, `refused` (no known key), `expired` (too slow)"
})

export const activeSessions = gauge({
  name: "drover.ssh.session.active",
  unit: "{session}",
  tells: "Channels on which a client speaks one of Nix's protocols"
})

export const storedBytes = gauge({
  name: "drover.store.size",
  unit: "By",
  tells: "Contents in the store, each once, however many views see it"
})

export const storedNars = gauge({
  name: "drover.store.nars",
  unit: "{nar}",
  tells: "How many different contents those are"
})

export const dataLimit = gauge({
  name: "drover.data.limit",
  unit: "By",
  tells: "The file system of the data directory"
})

export const dataAvailable = gauge({
  name: "drover.data.available",
  unit: "By",
  tells: "What is left of it"
})

export const databaseSessions = gauge({
  name: "drover.database.sessions",
  unit: "{session}",
  by: [Attributes.databaseState],
  tells: "Our sessions of PostgreSQL: `idle`, `running`, or what they wait for: `lock`, `io`, `client` …"
})

export const databaseProbe = histogram({
  name: "drover.database.probe.duration",
  unit: "s",
  tells: "A statement that asks for little, every few seconds: the wait for a connection, and PostgreSQL's answer",
  boundaries: secondsOfStatements
})

export const loopDelayMedian = gauge({
  name: "nodejs.eventloop.delay.p50",
  unit: "s",
  tells: "How late the event loop came to its timers, since the last look"
})

export const loopDelayUpper = gauge({
  name: "nodejs.eventloop.delay.p99",
  unit: "s",
  tells: "The same, of the worst in a hundred"
})

export const loopDelayMax = gauge({
  name: "nodejs.eventloop.delay.max",
  unit: "s",
  tells: "The same, of the worst"
})

export const loopUtilization = gauge({
  name: "nodejs.eventloop.utilization",
  unit: "1",
  tells: "The share of its time that the event loop was busy, since the last look"
})

export const processMemory = gauge({
  name: "process.memory.usage",
  unit: "By",
  tells: "Memory of the server's own process: neither builds' nor PostgreSQL's"
})

export const processTime = counter({
  name: "process.cpu.time",
  unit: "s",
  by: [Attributes.cpuMode],
  tells: "Processor time of the server's own process"
})

/** The series of a metric that has these attributes. */
export const of: <Input, State>(
  metric: Metric.Metric<Input, State>,
  attributes: Readonly<Record<string, string>>
) => Metric.Metric<Input, State> = Metric.withAttributes

/** Counts an effect among those under way, for as long as it is. */
export const counted =
  (gauge: Metric.Gauge<number>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Metric.modify(gauge, 1),
      () => effect,
      () => Metric.modify(gauge, -1)
    )

/** What a unit adds to a name where Prometheus keeps it, as OpenTelemetry's own collector does. */
const suffixes: Readonly<Record<string, string>> = { s: "_seconds", By: "_bytes", 1: "_ratio" }

/** The same name whether it came through a collector or was read here. */
export const prometheusName = ({ kind, name, unit }: Declaration): string =>
  `${name.replaceAll(".", "_")}${suffixes[unit] ?? ""}${kind === "counter" ? "_total" : ""}`
