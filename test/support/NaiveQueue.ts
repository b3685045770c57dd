/**
 * The scheduler as one would first write it: it looks at everything, every time. What the real one is held against.
 *
 * It keeps lists, and finds whatever it wants to know by going through them.
 */
import { Lease, type LeaseId } from "../../src/domain/Lease.ts"
import type { AccountId } from "../../src/domain/Account.ts"
import type { Host, HostId } from "../../src/domain/Host.ts"
import type { Need } from "../../src/domain/Need.ts"
import { agingPerSecond, rankSecondsMax, servedSecondsMin } from "../../src/actors/scheduler/Order.ts"
import { refusal } from "../../src/actors/scheduler/Placement.ts"
import { type Decision, type Message, overtakenSecondsMax } from "../../src/actors/scheduler/Queue.ts"
import type { State } from "../../src/actors/scheduler/Room.ts"

interface Amount {
  readonly cores: number
  readonly memoryBytes: number
}

interface Machine {
  host: Host
  state: State
}

interface Claim {
  readonly lease: LeaseId
  readonly account: AccountId
  readonly host: HostId
  readonly price: Amount
  readonly at: number
}

interface Waiting {
  readonly ordinal: number
  readonly since: number
  need: Need
}

interface Account {
  readonly id: AccountId
  weight: number
  served: number
}

const sum = (amounts: ReadonlyArray<Amount>): Amount => ({
  cores: amounts.reduce((all, { cores }) => all + cores, 0),
  memoryBytes: amounts.reduce((all, { memoryBytes }) => all + memoryBytes, 0)
})

const least = <A>(values: ReadonlyArray<A>, compare: (a: A, b: A) => number): A | null =>
  values.toSorted(compare)[0] ?? null

export class NaiveQueue {
  private readonly machines: Array<Machine> = []
  private readonly accounts: Array<Account> = []
  private waiting: Array<Waiting> = []
  private loans: Array<Claim> = []
  private kept: Array<Claim> = []
  private readonly overtaken = new Map<LeaseId, number>()
  private decisions: Array<Decision> = []
  private floor = 0
  private arrivals = 0
  private at = 0

  constructor(hosts: ReadonlyArray<Host>) {
    for (const host of hosts) this.machines.push({ host, state: "open" })
  }

  receive(message: Message): ReadonlyArray<Decision> {
    this.decisions = []
    this.at = message.at
    switch (message._tag) {
      case "Requested":
        this.request(message.need)
        break
      case "Returned":
        this.giveBack(message.lease)
        break
      case "Reprioritised": {
        const found = this.waiting.find(({ need }) => need.lease === message.lease)
        if (found !== undefined && this.keptFor(message.lease) === null) {
          found.need = Object.assign(Object.create(found.need), { rank: message.rank })
        }
        break
      }
      case "Weighed":
        this.account(message.account).weight = message.weight
        break
      case "HostJoined": {
        const known = this.machines.find(({ host }) => host.id === message.host.id)
        if (known === undefined) this.machines.push({ host: message.host, state: "open" })
        else {
          this.unkeepHost(known.host.id)
          known.host = message.host
          known.state = "open"
        }
        this.settle(message.host.id)
        break
      }
      case "HostChanged":
        this.change(message.host, message.state)
        break
    }
    return this.decisions
  }

  private request(need: Need) {
    const taking = this.takers(need)
    if (!taking.some((machine) => this.fits(need, machine, machine.host))) {
      const reason = refusal(this.machines, need) ?? "it is not refused"
      this.decisions.push({ _tag: "NeverFits", lease: need.lease, reason })
      return
    }
    const account = this.account(need.account)
    const isAway =
      ![...this.loans, ...this.kept].some((claim) => claim.account === need.account) &&
      !this.waiting.some((waiting) => waiting.need.account === need.account)
    if (isAway) account.served = Math.max(account.served, this.floor)
    this.waiting.push({ need, ordinal: this.arrivals++, since: this.at })
    for (;;) {
      if (!this.waiting.some((waiting) => waiting.need === need) || this.keptFor(need.lease) !== null) return
      const roomy = this.takers(need).filter(
        (machine) => machine.state === "open" && !this.isKept(machine) && this.fits(need, machine, this.free(machine))
      )
      const left = (machine: Machine) => {
        const { cores, memoryBytes } = this.free(machine)
        const price = this.price(need, machine.host)
        return { cores: cores - price.cores, memoryBytes: memoryBytes - price.memoryBytes }
      }
      const best = least(
        roomy,
        (a, b) =>
          left(a).cores - left(b).cores || left(a).memoryBytes - left(b).memoryBytes || (a.host.id < b.host.id ? -1 : 1)
      )
      if (best === null) return
      this.settle(best.host.id)
    }
  }

  private giveBack(lease: LeaseId) {
    const loan = this.loans.find((loan) => loan.lease === lease)
    if (loan !== undefined) {
      this.loans = this.loans.filter((other) => other !== loan)
      this.discharge(loan)
      return this.settle(loan.host)
    }
    const kept = this.keptFor(lease)
    if (kept !== null) this.unkeep(kept)
    this.waiting = this.waiting.filter(({ need }) => need.lease !== lease)
    this.overtaken.delete(lease)
    if (kept !== null) this.settle(kept.host)
  }

  private change(id: HostId, state: State) {
    const machine = this.machines.find(({ host }) => host.id === id)
    if (machine === undefined) return
    if (state !== "open") this.unkeepHost(id)
    machine.state = state
    if (state === "open") this.settle(id)
  }

  private settle(id: HostId) {
    const machine = this.machines.find(({ host }) => host.id === id)!
    for (;;) {
      if (machine.state !== "open") return
      const free = this.free(machine)
      const own = this.kept.find(({ host }) => host === id)
      if (own !== undefined) {
        const waiting = this.waiting.find(({ need }) => need.lease === own.lease)!
        if (!this.fits(waiting.need, machine, free)) return
        this.grant(waiting, machine)
        continue
      }
      const able = this.waiting.filter(({ need }) => this.takers(need).includes(machine))
      const aside = least(
        able.filter(({ need }) => this.keptFor(need.lease) !== null && this.fits(need, machine, free)),
        (a, b) => a.ordinal - b.ordinal
      )
      if (aside !== null) {
        const kept = this.keptFor(aside.need.lease)!
        this.grant(aside, machine)
        this.settle(kept.host)
        continue
      }
      const line = able.filter(({ need }) => this.keptFor(need.lease) === null).toSorted((a, b) => this.compare(a, b))
      const next = line.find(({ need }) => this.fits(need, machine, free))
      if (next === undefined) return
      const first = line.find(({ need }) => this.fits(need, machine, machine.host))!
      if (first === next || this.mayOvertake(next, first)) this.grant(next, machine)
      else this.keep(first)
    }
  }

  private mayOvertake(next: Waiting, first: Waiting): boolean {
    const { account, lease } = first.need
    if (next.need.account !== account) return this.at - first.since < overtakenSecondsMax * 1000
    const since = this.overtaken.get(lease) ?? this.at
    this.overtaken.set(lease, since)
    return this.at - since < overtakenSecondsMax * 1000
  }

  private grant(waiting: Waiting, { host }: Machine) {
    const { need } = waiting
    const kept = this.keptFor(need.lease)
    if (kept !== null) this.unkeep(kept)
    const price = this.price(need, host)
    this.floor = Math.max(this.floor, this.account(need.account).served)
    this.waiting = this.waiting.filter((other) => other !== waiting)
    this.overtaken.delete(need.lease)
    this.loans.push({ lease: need.lease, account: need.account, host: host.id, price, at: this.at })
    const { lease: id, memoryBytes } = need
    this.decisions.push({
      _tag: "Granted",
      lease: new Lease({ id, host: host.id, cores: price.cores, memoryBytes })
    })
  }

  private keep({ need }: Waiting) {
    const makes = Map.groupBy(
      this.takers(need).filter((machine) => machine.state === "open" && !this.isKept(machine)),
      ({ host }) => JSON.stringify([host.systems, host.emulatedSystems, host.features, host.cores, host.memoryBytes])
    )
    const fullest = [...makes.values()]
      .map((machines) =>
        machines.toSorted(
          (a, b) =>
            this.free(b).cores - this.free(a).cores ||
            this.free(b).memoryBytes - this.free(a).memoryBytes ||
            (a.host.id < b.host.id ? 1 : -1)
        )
      )
      .map(([first]) => first!)
      .filter((machine) => this.fits(need, machine, machine.host))
    const lacks = (machine: Machine) => {
      const price = this.price(need, machine.host)
      const free = this.free(machine)
      return [Math.max(0, price.cores - free.cores), Math.max(0, price.memoryBytes - free.memoryBytes)] as const
    }
    const { host } = least(
      fullest,
      (a, b) => lacks(a)[0] - lacks(b)[0] || lacks(a)[1] - lacks(b)[1] || (a.host.id < b.host.id ? -1 : 1)
    )!
    this.floor = Math.max(this.floor, this.account(need.account).served)
    const price = this.price(need, host)
    this.kept.push({ lease: need.lease, account: need.account, host: host.id, price, at: this.at })
  }

  private unkeep(kept: Claim) {
    this.kept = this.kept.filter((other) => other !== kept)
    this.discharge(kept)
  }

  private unkeepHost(id: HostId) {
    for (const kept of this.kept.filter(({ host }) => host === id)) this.unkeep(kept)
  }

  private discharge({ account, at, price }: Claim) {
    const seconds = Math.max(servedSecondsMin, (this.at - at) / 1000)
    const { weight } = this.account(account)
    this.account(account).served += (this.dominant(price) * seconds) / weight
  }

  private compare(a: Waiting, b: Waiting): number {
    const [one, other] = [this.account(a.need.account), this.account(b.need.account)]
    return (
      this.share(one) - this.share(other) ||
      one.served - other.served ||
      this.accounts.indexOf(one) - this.accounts.indexOf(other) ||
      this.urgency(a) - this.urgency(b) ||
      a.ordinal - b.ordinal
    )
  }

  private urgency({ need, since }: Waiting): number {
    return (since / 1000) * agingPerSecond - Math.min(need.rank, rankSecondsMax)
  }

  private share({ id, weight }: Account): number {
    const claims = [...this.loans, ...this.kept].filter(({ account }) => account === id)
    return this.dominant(sum(claims.map(({ price }) => price))) / weight
  }

  private dominant({ cores, memoryBytes }: Amount): number {
    const total = sum(this.machines.map(({ host }) => host))
    return Math.max(cores / total.cores, memoryBytes / total.memoryBytes)
  }

  private account(id: AccountId): Account {
    const known = this.accounts.find((account) => account.id === id)
    if (known !== undefined) return known
    const account = { id, weight: 1, served: this.floor }
    this.accounts.push(account)
    return account
  }

  private takers({ features, system }: Need): ReadonlyArray<Machine> {
    const able = this.machines.filter(
      ({ host }) => host.systems.includes(system) && features.every((feature) => host.features.includes(feature))
    )
    const native = able.filter(({ host }) => !host.emulatedSystems.includes(system))
    return native.length > 0 ? native : able
  }

  private price({ cores, memoryBytes }: Need, host: Host): Amount {
    return { cores: cores === "all" ? host.cores : cores, memoryBytes: memoryBytes + host.overheadBytes }
  }

  private fits(need: Need, { host }: Machine, free: Amount): boolean {
    const price = this.price(need, host)
    return price.cores <= free.cores && price.memoryBytes <= free.memoryBytes
  }

  private free({ host }: Machine): Amount {
    const lent = sum(this.loans.filter((loan) => loan.host === host.id).map(({ price }) => price))
    return { cores: host.cores - lent.cores, memoryBytes: host.memoryBytes - lent.memoryBytes }
  }

  private isKept({ host }: Machine): boolean {
    return this.kept.some((kept) => kept.host === host.id)
  }

  private keptFor(lease: LeaseId): Claim | null {
    return this.kept.find((kept) => kept.lease === lease) ?? null
  }
}
