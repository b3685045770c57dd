/**
 * What must hold of this service, judged by the record of its events alone.
 *
 * - `record`    nothing is missing from it.
 * - `host`      what is lent of a host at any moment is no more than the host; nothing is lent of one that is not open.
 * - `lease`     is asked for once, given once at most, and returned once, when its attempt has ended.
 * - `order`     leases are given in a fair order: see `Fairness`.
 * - `attempt`   runs on a lease of its own, one at a time for a build, and is ended by nobody's word but its own.
 * - `verified`  a build succeeds only by an attempt whose outputs were verified.
 * - `end`       every build ends once; an end that somebody was told of stays.
 * - `answer`    every waiter is answered once, or leaves; and with success only after the build's own.
 * - `identity`  nobody is answered with the build of another identity, or with another account's that was not isolated.
 * - `closed`    nothing is open when a server has ended well.
 *
 * A checker reads one event after the other and keeps what is open, so that its memory is that of the service at one
 * moment and not of its history. What it keeps can be put down as a marker, and read on from there once the events
 * before are gone. It judges and mends nothing.
 */
import type { AttemptId } from "./Attempt.ts"
import type { Event, Recorded } from "./Event.ts"
import { Fairness } from "./Fairness.ts"
import type { HostId } from "./Host.ts"
import { LeaseId } from "./Lease.ts"
import { type Ended, type Loan, type Marker, type Open, origin, type Room, type Waiter } from "./Marker.ts"
import type { Rule, Violation } from "./Violation.ts"

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** What the rules say of one event: nothing, or what was expected and what was found. */
type Complaint = readonly [rule: Rule, expected: string, found: string]

export class Checker {
  #run: number
  #ordinal: number
  /** Something of this server's is missing, so of what is unknown nothing can be said. */
  #isBlind: boolean
  readonly #hosts: Map<HostId, Mutable<Room>>
  readonly #leases: Map<LeaseId, Mutable<Loan>>
  readonly #builds: Map<string, Mutable<Open>>
  readonly #ended: Map<string, Mutable<Ended>>
  readonly #waiters: Map<string, Mutable<Waiter>>
  readonly #fairness = new Fairness()

  constructor({ builds, ended, hosts, isBlind, leases, ordinal, run, waiters, weights }: Marker = origin) {
    const copied = <K, V extends object>(entries: ReadonlyArray<readonly [K, V]>) =>
      new Map(entries.map(([key, value]) => [key, { ...value }]))
    this.#run = run
    this.#ordinal = ordinal
    this.#isBlind = isBlind
    this.#hosts = copied(hosts)
    this.#leases = copied(leases)
    this.#builds = copied(builds)
    this.#ended = copied(ended)
    this.#waiters = copied(waiters)
    for (const [id, host] of hosts) this.#fairness.setHost(id, host)
    for (const [account, weight] of weights) this.#fairness.setWeight(account, weight)
    for (const [id, lease] of leases) {
      if (lease.kept !== null) this.#fairness.keep(lease.account, lease.kept, 1)
      if (lease.host !== null) this.#fairness.lend(lease.account, lease, 1)
      else if (lease.kept === null) this.#fairness.wait(id, lease)
    }
  }

  get marker(): Marker {
    const awaited = new Set([...this.#waiters.values()].map(({ build }) => build))
    return {
      run: this.#run,
      ordinal: this.#ordinal,
      isBlind: this.#isBlind,
      hosts: [...this.#hosts],
      leases: [...this.#leases],
      weights: this.#fairness.weights,
      builds: [...this.#builds],
      ended: [...this.#ended].filter(([build]) => awaited.has(build)),
      waiters: [...this.#waiters]
    }
  }

  /** Those who wait for a build that has ended, and have not been told: none, once nothing is in motion any more. */
  get unanswered(): ReadonlyArray<string> {
    return [...this.#waiters].flatMap(([waiter, { build, isAnswered }]) =>
      !isAnswered && this.#ended.has(build) ? [waiter] : []
    )
  }

  /** What is open: none, once nobody asks for anything any more. */
  get open() {
    return { leases: [...this.#leases.keys()], builds: [...this.#builds.keys()], waiters: [...this.#waiters.keys()] }
  }

  /** Attempts under way. */
  get running(): ReadonlyArray<AttemptId> {
    return [...this.#builds.values()].flatMap(({ attempt }) => attempt ?? [])
  }

  /** The events in their order, each once. */
  read({ event, ordinal, run }: Recorded): ReadonlyArray<Violation> {
    const complaints = [...this.#place(run, ordinal, event), ...this.#judge(event)]
    return complaints.map(([rule, expected, found]) => ({ run, ordinal, event: event._tag, rule, expected, found }))
  }

  #place(run: number, ordinal: number, event: Event): ReadonlyArray<Complaint> {
    const [lastRun, last] = [this.#run, this.#ordinal]
    this.#run = run
    this.#ordinal = ordinal
    if (run === lastRun ? ordinal === last + 1 : run > lastRun && ordinal === 1 && event._tag === "ServerStarted") {
      return []
    }
    this.#forget()
    this.#isBlind = true
    return [
      ["record", `event ${last + 1} of server ${lastRun}, or the first of a later one`, `event ${ordinal} of ${run}`]
    ]
  }

  #forget() {
    for (const each of [this.#hosts, this.#leases, this.#builds, this.#waiters]) each.clear()
    this.#fairness.forget()
  }

  #judge(event: Event): ReadonlyArray<Complaint> {
    switch (event._tag) {
      case "ServerStarted":
        this.#forget()
        this.#isBlind = false
        return []
      case "ServerStopped":
        return this.#stopped()
      case "HostChanged":
        return this.#hostChanged(event)
      case "AccountWeighed":
        this.#fairness.setWeight(event.account, event.weight)
        return []
      case "LeaseRequested":
      case "HostKept":
      case "HostFreed":
      case "LeaseGranted":
      case "LeaseRefused":
      case "LeaseReturned":
        return this.#lease(event)
      case "BuildQueued":
      case "BuildEnded":
      case "BuildReused":
        return this.#build(event)
      case "AttemptStarted":
      case "OutputsVerified":
      case "AttemptEnded":
        return this.#attempt(event)
      case "WaiterCame":
      case "WaiterAnswered":
      case "WaiterLeft":
        return this.#waiter(event)
    }
  }

  #stopped(): ReadonlyArray<Complaint> {
    const { builds, leases, waiters } = this.open
    const left = [...leases.map((id) => `lease ${id}`), ...builds.map((id) => `build ${id}`)]
      .concat(waiters.map((id) => `waiter ${id}`))
      .slice(0, namesMax)
    this.#forget()
    return left.length === 0 ? [] : [["closed", "nothing open at the end of the server", left.join(", ")]]
  }

  #hostChanged({ cores, host, memoryBytes, state }: EventOf<"HostChanged">): ReadonlyArray<Complaint> {
    const { bytesLent = 0, coresLent = 0 } = this.#hosts.get(host) ?? {}
    this.#hosts.set(host, { state, cores, memoryBytes, coresLent, bytesLent })
    this.#fairness.setHost(host, { cores, memoryBytes })
    return []
  }

  #lease(event: LeaseEvent): ReadonlyArray<Complaint> {
    const lease = this.#leases.get(event.lease)
    if (event._tag === "LeaseRequested") {
      if (lease !== undefined)
        return [["lease", "a lease that nobody has asked for", `${event.lease}, asked for twice`]]
      const { account, cores, features, memoryBytes: asked, system } = event
      const shape = JSON.stringify([system, features, cores])
      const loan = { account, shape, asked, host: null, cores: 0, memoryBytes: 0, kept: null, attempt: "none" as const }
      this.#leases.set(event.lease, loan)
      this.#fairness.wait(event.lease, loan)
      return []
    }
    // What is given back is kept free no more, and told of so after it.
    if (lease === undefined && event._tag === "HostFreed") return []
    if (lease === undefined) return this.#unknown("lease", `lease ${event.lease}`)
    switch (event._tag) {
      case "LeaseGranted":
        return this.#granted(event, lease)
      case "HostKept":
        this.#free(event.lease, lease)
        lease.kept = { cores: event.cores, memoryBytes: event.memoryBytes }
        this.#fairness.leave(event.lease, lease)
        this.#fairness.keep(lease.account, lease.kept, 1)
        return []
      case "HostFreed":
        this.#free(event.lease, lease)
        return []
      case "LeaseRefused":
        this.#fairness.leave(event.lease, lease)
        return lease.host === null ? [] : [["lease", "a lease not given", `${event.lease} of ${lease.host}, refused`]]
      case "LeaseReturned": {
        this.#leases.delete(event.lease)
        this.#free(event.lease, lease)
        this.#fairness.leave(event.lease, lease)
        if (lease.host !== null) this.#fairness.lend(lease.account, lease, -1)
        const host = lease.host === null ? undefined : this.#hosts.get(lease.host)
        if (host !== undefined) {
          host.coresLent -= lease.cores
          host.bytesLent -= lease.memoryBytes
        }
        return lease.attempt === "running"
          ? [["lease", "an attempt that has ended before its lease is returned", `${event.lease}, still running`]]
          : []
      }
    }
  }

  /** For it no host is kept any more; if it is still to be given, it waits among the others. */
  #free(id: LeaseId, lease: Mutable<Loan>) {
    if (lease.kept === null) return
    this.#fairness.keep(lease.account, lease.kept, -1)
    lease.kept = null
    if (lease.host === null) this.#fairness.wait(id, lease)
  }

  #granted(event: EventOf<"LeaseGranted">, lease: Mutable<Loan>): ReadonlyArray<Complaint> {
    if (lease.host !== null) return [["lease", "a lease not given yet", `${event.lease}, given twice`]]
    const passedOver = lease.kept === null ? this.#fairness.passedOver(lease) : null
    const host = this.#hosts.get(event.host)
    lease.host = event.host
    lease.cores = event.cores
    lease.memoryBytes = event.memoryBytes
    this.#fairness.leave(event.lease, lease)
    this.#fairness.lend(lease.account, lease, 1)
    if (host === undefined) return this.#unknown("host", `host ${event.host}`)
    host.coresLent += event.cores
    host.bytesLent += event.memoryBytes
    const complaints: Array<Complaint> = []
    if (passedOver !== null && !this.#isBlind) {
      const expected = `a lease for the account with the smaller share, ${passedOver.account} with ${passedOver.lease}`
      complaints.push(["order", expected, `${lease.account} with ${event.lease}`])
    }
    if (host.state !== "open") complaints.push(["host", `an open host`, `${event.host}, ${host.state}`])
    if (host.coresLent > host.cores) {
      complaints.push(["host", `at most ${host.cores} cores lent of ${event.host}`, String(host.coresLent)])
    }
    if (host.bytesLent > host.memoryBytes) {
      complaints.push(["host", `at most ${host.memoryBytes} bytes lent of ${event.host}`, String(host.bytesLent)])
    }
    return complaints
  }

  #build(event: BuildEvent): ReadonlyArray<Complaint> {
    switch (event._tag) {
      case "BuildQueued": {
        const { account, build, identity } = event
        const ended = this.#ended.get(build)
        const isOpen = this.#builds.has(build)
        this.#builds.set(build, { identity, account, attempt: null, verified: null, isIsolating: true, outcome: null })
        this.#ended.delete(build)
        if (isOpen) return [["end", "a build that is not under way", `${build}, begun twice`]]
        // Its end may not have been recorded where it counts when the server was lost; then nobody was told.
        if (ended === undefined || (ended.run < this.#run && !ended.isTold)) return []
        return [["end", "a build that has not ended", `${build}, which ${ended.state} under server ${ended.run}`]]
      }
      case "BuildEnded": {
        const { attempt, build, state } = event
        const open = this.#builds.get(build)
        if (open === undefined) return this.#unknown("end", `build ${build}`)
        this.#builds.delete(build)
        const { account, identity, isIsolating, outcome } = open
        this.#ended.set(build, { identity, account, state, isIsolating, outcome, run: this.#run, isTold: false })
        const complaints: Array<Complaint> = []
        if (open.attempt !== null) {
          complaints.push(["end", `no attempt of build ${build} running at its end`, open.attempt])
        }
        if (state === "succeeded" && (attempt === null || open.verified !== attempt)) {
          complaints.push(["verified", `the outputs of build ${build} verified before it succeeds`, "none that were"])
        }
        return complaints
      }
      case "BuildReused": {
        const { account, build, from, identity } = event
        const other = this.#ended.get(from)
        const told = { identity, account, run: this.#run, isTold: false }
        this.#ended.set(build, { state: "succeeded", isIsolating: true, outcome: null, ...other, ...told })
        // It may be older than the record.
        if (other === undefined) return []
        const complaints: Array<Complaint> = []
        if (other.identity !== identity) {
          complaints.push(["identity", `a result of ${identity}`, `${from}, a result of ${other.identity}`])
        }
        if (other.account !== account && !other.isIsolating) {
          complaints.push(["identity", "a result of a backend that isolates, or of the same account", from])
        }
        // Who allows it no longer is answered with what took too long.
        if (other.state === "cancelled" && other.outcome !== "timed-out" && other.outcome !== "silent")
          complaints.push(["identity", "a result", `${from}, which was cancelled`])
        return complaints
      }
    }
  }

  #attempt(event: AttemptEvent): ReadonlyArray<Complaint> {
    const { attempt } = event
    const build = this.#builds.get(event.build)
    // An attempt bears the name of its lease.
    const lease = this.#leases.get(LeaseId.make(attempt))
    if (build === undefined) return this.#unknown("attempt", `build ${event.build}`)
    switch (event._tag) {
      case "AttemptStarted": {
        const complaints: Array<Complaint> = []
        if (build.attempt !== null) {
          complaints.push(["attempt", `no other attempt of build ${event.build} running`, build.attempt])
        }
        build.attempt = attempt
        build.isIsolating = event.isIsolating
        if (lease === undefined) return [...complaints, ...this.#unknown("attempt", `lease ${attempt}`)]
        if (lease.host === null) complaints.push(["attempt", "an attempt on a lease", `${attempt}, not given`])
        if (lease.attempt !== "none") complaints.push(["attempt", "one attempt on a lease", `${attempt}, the second`])
        lease.attempt = "running"
        return complaints
      }
      case "OutputsVerified":
        if (build.attempt !== attempt) return [notCurrent(event, build.attempt)]
        build.verified = attempt
        return []
      case "AttemptEnded": {
        if (lease !== undefined) lease.attempt = "ended"
        if (build.attempt !== attempt) return [notCurrent(event, build.attempt)]
        build.attempt = null
        build.outcome = event.outcome
        return event.word === null || event.word === attempt
          ? []
          : [["attempt", `${attempt} ended by a word about itself`, `one about ${event.word}`]]
      }
    }
  }

  #waiter(event: WaiterEvent): ReadonlyArray<Complaint> {
    const waiter = this.#waiters.get(event.waiter)
    if (event._tag === "WaiterCame") {
      this.#waiters.set(event.waiter, { build: event.build, account: event.account, isAnswered: false })
      if (waiter !== undefined) return [["answer", "a waiter who comes once", `${event.waiter}, twice`]]
      const build = this.#builds.get(event.build) ?? this.#ended.get(event.build)
      if (build === undefined) return this.#unknown("answer", `build ${event.build}`)
      return build.identity === event.identity
        ? []
        : [["identity", `a build of ${event.identity}`, `${event.build}, of ${build.identity}`]]
    }
    if (waiter === undefined) return this.#unknown("answer", `waiter ${event.waiter}`)
    if (event._tag === "WaiterLeft") {
      this.#waiters.delete(event.waiter)
      return []
    }
    const complaints: Array<Complaint> = []
    if (waiter.isAnswered) complaints.push(["answer", "one answer to a waiter", `a second to ${event.waiter}`])
    waiter.isAnswered = true
    const ended = this.#ended.get(waiter.build)
    if (ended !== undefined) {
      ended.isTold = true
      if (event.status === "Built" && ended.state !== "succeeded") {
        complaints.push(["answer", `success told of a build that succeeded`, `${waiter.build}, which ${ended.state}`])
      }
      if (ended.account !== waiter.account && !ended.isIsolating) {
        complaints.push(["identity", "an isolated build, or the account's own", `${waiter.build} told ${event.waiter}`])
      }
    } else if (event.status === "Built") {
      complaints.push(["answer", `success told after build ${waiter.build} has ended`, "one that has not"])
    }
    return complaints
  }

  #unknown(rule: Rule, what: string): ReadonlyArray<Complaint> {
    return this.#isBlind ? [] : [[rule, `${what} to be open`, "that it is not, or never was"]]
  }
}

/** Names in one complaint: more say no more. */
const namesMax = 10

const notCurrent = ({ _tag, attempt, build }: AttemptEvent, current: AttemptId | null): Complaint => [
  "attempt",
  `a word about the attempt under way of build ${build}, ${current ?? "which is none"}`,
  `${_tag} of ${attempt}`
]

type EventOf<Tag extends Event["_tag"]> = Extract<Event, { readonly _tag: Tag }>
type LeaseEvent = EventOf<
  "LeaseRequested" | "HostKept" | "HostFreed" | "LeaseGranted" | "LeaseRefused" | "LeaseReturned"
>
type BuildEvent = EventOf<"BuildQueued" | "BuildEnded" | "BuildReused">
type AttemptEvent = EventOf<"AttemptStarted" | "OutputsVerified" | "AttemptEnded">
type WaiterEvent = EventOf<"WaiterCame" | "WaiterAnswered" | "WaiterLeft">
