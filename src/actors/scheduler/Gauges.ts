/**
 * What waits and what is lent, as the operator's dashboards show it: counted from the scheduler's books.
 *
 * Builds that ask for the same, but for memory, are counted together, so a look costs as much as there are shapes of
 * builds and accounts, however many builds wait.
 */
import { Effect, HashMap } from "effect"
import * as Attributes from "../../telemetry/Attributes.ts"
import * as Metrics from "../../telemetry/Metrics.ts"
import * as Sampling from "../../telemetry/Sampling.ts"
import type { Line } from "./Line.ts"
import type { Books } from "./Queue.ts"
import * as Room from "./Room.ts"
import { Scheduler } from "./Scheduler.ts"
import * as Tree from "./Tree.ts"

type Shape = HashMap.HashMap.Value<Line["shapes"]>

/**
 * What builds of a shape lack. `host`: one that could take them, in service. `cores`, `memory`: what is free of these
 * hosts has too few, or too little. `drain`: a host is kept free for them, and runs something yet.
 */
type Reason = "host" | "cores" | "memory" | "drain"

const lacks = ({ room }: Books, { cores, takers }: Shape): Reason => {
  const makes = [...takers].map((key) => Room.makeOf(room, key)).filter(({ serving }) => serving > 0)
  if (makes.length === 0) return "host"
  const hasCores = makes.some(({ host, open }) => {
    const most = Tree.last(open)
    return most !== null && most.free.cores >= (cores === "all" ? host.cores : cores)
  })
  return hasCores ? "memory" : "cores"
}

export const readings = (books: Books): ReadonlyArray<Sampling.Reading> => {
  const waiting: Record<Reason, number> = { host: 0, cores: 0, memory: 0, drain: 0 }
  for (const shape of HashMap.values(books.line.shapes)) {
    waiting.drain += Tree.size(shape.aside)
    let count = 0
    for (const { lane } of Tree.values(shape.contenders)) count += Tree.size(lane)
    if (count > 0) waiting[lacks(books, shape)] += count
  }
  const leases = new Map<string, number>()
  for (const { host } of HashMap.values(books.loans)) leases.set(host, (leases.get(host) ?? 0) + 1)

  const hosts = HashMap.toValues(books.room.hosts)
  const each = (valueOf: (entry: Room.Entry) => number): Sampling.Reading["values"] =>
    hosts.map((entry) => [valueOf(entry), { [Attributes.host]: entry.host.id }])
  return [
    {
      gauge: Metrics.waitingBuilds,
      values: Object.entries(waiting).map(([reason, count]) => [count, { [Attributes.waitReason]: reason }])
    },
    { gauge: Metrics.activeLeases, values: each(({ host }) => leases.get(host.id) ?? 0) },
    { gauge: Metrics.hostCores, values: each(({ host }) => host.cores) },
    { gauge: Metrics.leasedCores, values: each(({ free, host }) => host.cores - free.cores) },
    { gauge: Metrics.hostMemory, values: each(({ host }) => host.memoryBytes) },
    { gauge: Metrics.leasedMemory, values: each(({ free, host }) => host.memoryBytes - free.memoryBytes) }
  ]
}

export const layer = Sampling.layer(
  "2 seconds",
  Effect.flatMap(Scheduler, ({ books }) => Effect.map(books, readings))
)
