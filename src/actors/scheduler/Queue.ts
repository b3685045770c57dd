/**
 * Who waits for what, and what is lent: the scheduler as a function of its books and one message.
 *
 * Reservation is strict: a lease is granted only out of what is free, and what it takes stays taken until it is
 * given back. Order is that of arrival among builds that compete for the same hosts: a build that has to wait for
 * room is not overtaken by a later one that any of its hosts could take, so a large build is never starved.
 *
 * Invariant: on each host, what is free and what its leases took add up to the host.
 */
import type { Host, HostId } from "../../domain/Host.ts"
import type { Need } from "../../domain/Need.ts"
import { Lease, type LeaseId } from "../../domain/Lease.ts"
import { coresOn, fits, type Free, priceOn, refusal } from "./Placement.ts"

interface Loan {
  readonly host: HostId
  readonly price: Free
}

export interface Books {
  readonly hosts: ReadonlyArray<{ readonly host: Host; readonly free: Free }>
  /** In order of arrival. */
  readonly waiting: ReadonlyArray<Need>
  readonly loans: ReadonlyMap<LeaseId, Loan>
}

export type Message =
  | { readonly _tag: "Requested"; readonly need: Need }
  /** The asker is gone, whether or not it has been given its lease meanwhile. */
  | { readonly _tag: "Returned"; readonly lease: LeaseId }

export type Decision =
  | { readonly _tag: "Granted"; readonly lease: Lease; readonly host: HostId }
  | { readonly _tag: "NeverFits"; readonly lease: LeaseId; readonly reason: string }

export const open = (hosts: ReadonlyArray<Host>): Books => ({
  hosts: hosts.map((host) => ({ host, free: { cores: host.cores, memoryBytes: host.memoryBytes } })),
  waiting: [],
  loans: new Map()
})

export const step = (books: Books, message: Message): readonly [Books, ReadonlyArray<Decision>] => {
  switch (message._tag) {
    case "Requested": {
      const { need } = message
      const reason = refusal(
        books.hosts.map(({ host }) => host),
        need
      )
      if (reason !== null) return [books, [{ _tag: "NeverFits", lease: need.lease, reason }]]
      return grant({ ...books, waiting: [...books.waiting, need] })
    }
    case "Returned":
      return grant(giveBack(books, message.lease))
  }
}

const giveBack = (books: Books, lease: LeaseId): Books => {
  const loan = books.loans.get(lease)
  if (loan === undefined) return { ...books, waiting: books.waiting.filter((need) => need.lease !== lease) }
  const loans = new Map(books.loans)
  loans.delete(lease)
  return {
    ...books,
    loans,
    hosts: books.hosts.map((entry) => (entry.host.id === loan.host ? change(entry, loan.price, 1) : entry))
  }
}

const change = ({ free, host }: Books["hosts"][number], price: Free, sign: 1 | -1) => ({
  host,
  free: { cores: free.cores + sign * price.cores, memoryBytes: free.memoryBytes + sign * price.memoryBytes }
})

/** Grants in order of arrival. A host that an earlier build waits for takes no later one. */
const grant = (books: Books): readonly [Books, ReadonlyArray<Decision>] => {
  const hosts = [...books.hosts]
  const loans = new Map(books.loans)
  const waiting: Array<Need> = []
  const decisions: Array<Decision> = []
  const awaited = new Set<HostId>()
  for (const need of books.waiting) {
    const at = hosts.findIndex(({ free, host }) => !awaited.has(host.id) && fits(host, free, need))
    const entry = hosts[at]
    if (entry === undefined) {
      waiting.push(need)
      for (const { host } of hosts) if (fits(host, host, need)) awaited.add(host.id)
      if (awaited.size === hosts.length) {
        waiting.push(...books.waiting.slice(waiting.length + decisions.length))
        break
      }
      continue
    }
    const { host } = entry
    const price = priceOn(host, need)
    hosts[at] = change(entry, price, -1)
    loans.set(need.lease, { host: host.id, price })
    const lease = new Lease({
      id: need.lease,
      host: host.id,
      cores: coresOn(host, need),
      memoryBytes: need.memoryBytes
    })
    decisions.push({ _tag: "Granted", lease, host: host.id })
  }
  return [{ hosts, waiting, loans }, decisions]
}
