/** The scheduler with builds that take as long as they say, in a time of its own: no sandbox, no waiting. */
import { CriticalPath } from "../src/domain/CriticalPath.ts"
import { AccountId } from "../src/domain/Account.ts"
import { Host, HostId } from "../src/domain/Host.ts"
import { LeaseId } from "../src/domain/Lease.ts"
import { Need } from "../src/domain/Need.ts"
import * as Queue from "../src/actors/scheduler/Queue.ts"
import type { Graph } from "./Graphs.ts"

const GiB = 2 ** 30

export const hosts = (count: number, cores: number, gibPerCore: number): ReadonlyArray<Host> =>
  Array.from(
    { length: count },
    (_, index) =>
      new Host({
        id: HostId.make(`host${index}`),
        systems: ["x86_64-linux"],
        features: ["big-parallel"],
        cores,
        memoryBytes: cores * gibPerCore * GiB,
        overheadBytes: 0
      })
  )

export interface Plan {
  readonly graph: Graph
  /** Of the same graph. */
  readonly paths: CriticalPath<number>
  /** Whose build it is. */
  readonly account: (build: number) => string
  readonly rank: (build: number) => number
}

/** What has been asked for and not yet begun, and what runs: the farm at one moment. */
export class Farm {
  now = 0
  asked = 0
  begun = 0
  private books: Queue.Books
  private readonly plan: Plan
  private readonly missing: Array<number>
  private readonly running = new Heap()
  /** Told how many milliseconds each step of the scheduler took, on the clock and of a processor. */
  private readonly timed: ((clock: number, processor: number) => void) | null

  constructor(hosts: ReadonlyArray<Host>, plan: Plan, timed: Farm["timed"] = null) {
    this.books = Queue.open(hosts)
    this.plan = plan
    this.timed = timed
    this.missing = plan.graph.map(({ inputs }) => inputs.length)
    for (const [build, { inputs }] of plan.graph.entries()) if (inputs.length === 0) this.ask(build)
  }

  /** Ends the build that ends first, and asks for what waited for it alone. False when nothing runs. */
  next(): boolean {
    const ended = this.running.pop()
    if (ended === null) return false
    this.now = ended.at
    this.tell({ _tag: "Returned", at: this.milliseconds, lease: nameOf(ended.build) })
    for (const build of this.plan.paths.dependents(ended.build)) if (--this.missing[build]! === 0) this.ask(build)
    return true
  }

  private get milliseconds(): number {
    return Math.round(this.now * 1000)
  }

  private ask(build: number): void {
    const { cores, memoryBytes } = this.plan.graph[build]!
    const need = new Need({
      lease: nameOf(build),
      account: AccountId.make(this.plan.account(build)),
      system: "x86_64-linux",
      features: [],
      cores,
      memoryBytes,
      rank: this.plan.rank(build)
    })
    this.asked++
    this.tell({ _tag: "Requested", at: this.milliseconds, need })
  }

  private tell(message: Queue.Message): void {
    const [clock, cpu] = [performance.now(), process.threadCpuUsage()]
    const [books, decisions] = Queue.step(this.books, message)
    const { system, user } = process.threadCpuUsage(cpu)
    this.timed?.(performance.now() - clock, (user + system) / 1000)
    this.books = books
    for (const decision of decisions) {
      if (decision._tag !== "Granted") throw new Error(`a build was not granted: ${JSON.stringify(decision)}`)
      const build = Number(decision.lease.id)
      this.begun++
      this.running.push({ at: this.now + this.plan.graph[build]!.seconds, build })
    }
  }
}

const nameOf = (build: number) => LeaseId.make(String(build))

/** How long all of it takes. */
export const makespan = (hosts: ReadonlyArray<Host>, plan: Plan): number => {
  const farm = new Farm(hosts, plan)
  while (farm.next());
  if (farm.begun < plan.graph.length) throw new Error(`${plan.graph.length - farm.begun} builds never began`)
  return farm.now
}

/** Ranks by critical path, where `seconds` is what each build is thought to take. */
export const ranks = (graph: Graph, seconds: (build: number) => number): CriticalPath<number> => {
  const paths = new CriticalPath<number>()
  if (paths.add(graph.map(({ inputs }, key) => ({ key, inputs, seconds: seconds(key) }))) === null) {
    throw new Error("the graph goes in circles")
  }
  return paths
}

interface Running {
  readonly at: number
  readonly build: number
}

class Heap {
  private readonly heap: Array<Running> = []

  push(value: Running): void {
    let at = this.heap.push(value) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.heap[above]!.at <= value.at) break
      this.heap[at] = this.heap[above]!
      at = above
    }
    this.heap[at] = value
  }

  pop(): Running | null {
    const top = this.heap[0]
    const last = this.heap.pop()
    if (top === undefined || last === undefined) return null
    if (this.heap.length === 0) return top
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.heap.length) break
      if (below + 1 < this.heap.length && this.heap[below + 1]!.at < this.heap[below]!.at) below++
      if (this.heap[below]!.at >= last.at) break
      this.heap[at] = this.heap[below]!
      at = below
    }
    this.heap[at] = last
    return top
  }
}
