/**
 * Who waits for what, and what is lent: the scheduler as a function of its books and one message.
 *
 * Reservation is strict: a lease is granted only out of what is free of a host in service, and what it takes stays taken
 * until it is given back. The order is `Order`'s: fair between accounts, then critical path, then age.
 *
 * When a host has room, the first in order that fits gets it. One that comes before it in the order and could take the
 * host, but does not fit what is free, is *overtaken*. That is good for all but the overtaken one, so it has an end:
 * `overtakenSecondsMax` after it was asked for, by builds of other accounts, and as long after they first did, by builds
 * of its own. From then on a build that would be overtaken has a host *kept* for it instead, the one that lacks the
 * fewest cores. Nothing more is lent of that host until what runs there has ended and left enough room; should another
 * host have the room sooner, the build takes that. A host that is kept counts as lent to the account, so that nobody
 * keeps more hosts free than it could be lent.
 *
 * Three things follow, and the tests hold them against a plain model:
 *
 * - Work is conserved: whatever waits, and has no host kept for it, fits no host that is in service and kept for nobody.
 * - Order is kept: a lease goes to the first in order that fits the host, but for builds with a host kept for them.
 * - No build starves. Of its own account only what came before, or within `Order`'s bound after it, comes before it in the
 *   order. Other accounts do so while they have a smaller share, or an equal one and have been served less; each lease
 *   raises both, the second by no less than a second's worth. So it comes first in time, and once it is, no other goes
 *   before it for longer than `overtakenSecondsMax`; then it waits for what runs on one host, and for nothing else.
 *   Nobody's flood of small builds, however long it lasts, is part of that.
 *
 * A message takes O(s log n) for each lease that it grants, among n builds of s shapes. Only the registration of a host
 * looks at all accounts, and its loss at all leases.
 */
import { HashMap, Option } from "effect"
import type { AccountId } from "../../domain/Account.ts"
import type { Host, HostId } from "../../domain/Host.ts"
import { Lease, type LeaseId } from "../../domain/Lease.ts"
import type { Need } from "../../domain/Need.ts"
import * as Line from "./Line.ts"
import type { Waiting } from "./Order.ts"
import { type Amount, coresOn, fits, priceOn, refusal, takersOf, wholeOf } from "./Placement.ts"
import * as Room from "./Room.ts"

/** More would have a large build wait longer among small ones; less would keep hosts free for what soon has room. */
export const overtakenSecondsMax = 20

interface Loan {
  readonly host: HostId
  readonly account: AccountId
  readonly price: Amount
  /** Milliseconds since the epoch. */
  readonly at: number
}

export interface Books {
  readonly room: Room.Room
  readonly line: Line.Line
  readonly loans: HashMap.HashMap<LeaseId, Loan>
  /** Hosts that are kept free, by the lease that waits for them. */
  readonly kept: HashMap.HashMap<LeaseId, Loan>
  /** When, of those who wait, a build of their own account first overtook them: milliseconds since the epoch. */
  readonly overtaken: HashMap.HashMap<LeaseId, number>
}

/** Every message says when it is: milliseconds since the epoch. */
export type Message = { readonly at: number } & (
  | { readonly _tag: "Requested"; readonly need: Need }
  /** The asker is gone, whether or not it has been given its lease meanwhile. */
  | { readonly _tag: "Returned"; readonly lease: LeaseId }
  /** The way to the end of its graph has turned out longer or shorter. */
  | { readonly _tag: "Reprioritised"; readonly lease: LeaseId; readonly rank: number }
  /** An account's part of what there is, to that of others: above zero, and one if nothing is said. */
  | { readonly _tag: "Weighed"; readonly account: AccountId; readonly weight: number }
  /** Registered and in service; one that is known already, as it is now. */
  | { readonly _tag: "HostJoined"; readonly host: Host }
  /** In service or not: see `Room.State`. What is lent of it stays lent until it is given back. */
  | { readonly _tag: "HostChanged"; readonly host: HostId; readonly state: Room.State }
)

export type Decision =
  | { readonly _tag: "Granted"; readonly lease: Lease }
  | { readonly _tag: "NeverFits"; readonly lease: LeaseId; readonly reason: string }

const empty: Books = {
  room: Room.empty,
  line: Line.empty,
  loans: HashMap.empty(),
  kept: HashMap.empty(),
  overtaken: HashMap.empty()
}

/** Books of these hosts, all in service. */
export const open = (hosts: ReadonlyArray<Host>): Books =>
  hosts.reduce((books, host) => step(books, { _tag: "HostJoined", host, at: 0 })[0], empty)

export const step = (books: Books, message: Message): readonly [Books, ReadonlyArray<Decision>] => {
  const turn: Turn = { ...books, at: message.at, decisions: [] }
  receive(turn, message)
  const { decisions, kept, line, loans, overtaken, room } = turn
  return [{ room, line, loans, kept, overtaken }, decisions]
}

/** The books while one message is dealt with: only this message's step sees them change. */
type Turn = { -readonly [K in keyof Books]: Books[K] } & {
  readonly at: number
  readonly decisions: Array<Decision>
}

const receive = (turn: Turn, message: Message): void => {
  switch (message._tag) {
    case "Requested":
      return request(turn, message.need)
    case "Returned":
      return giveBack(turn, message.lease)
    case "Reprioritised": {
      const waiting = Line.find(turn.line, message.lease)
      // One that has a host kept for it has had its turn.
      if (waiting === null || HashMap.has(turn.kept, message.lease)) return
      turn.line = Line.reprioritise(turn.line, waiting, message.rank)
      return
    }
    case "Weighed":
      turn.line = Line.weigh(turn.line, message.account, message.weight)
      return
    case "HostJoined":
      return join(turn, message.host)
    case "HostChanged":
      return setState(turn, message.host, message.state)
  }
}

const request = (turn: Turn, need: Need): void => {
  const { lease } = need
  // A lease is asked for once. A second asker of the same name would be granted what the first holds.
  if (Line.find(turn.line, lease) !== null || HashMap.has(turn.loans, lease)) return
  const makes = Room.makes(turn.room)
  const reason = refusal(makes, need)
  if (reason !== null) {
    turn.decisions.push({ _tag: "NeverFits", lease, reason })
    return
  }
  turn.line = Line.enter(turn.line, need, turn.at, () => takersOf(makes, need).map(({ key }) => key))
  seat(turn, lease)
}

/** Finds room for one that waits; what it would overtake is served on the way. */
const seat = (turn: Turn, lease: LeaseId): void => {
  for (;;) {
    const waiting = Line.find(turn.line, lease)
    if (waiting === null || HashMap.has(turn.kept, lease)) return
    const found = Room.place(turn.room, Line.takers(turn.line, waiting), waiting.need)
    if (found === null) return
    // Ends: each time the host has less room afterwards, or is kept.
    settle(turn, found.host.id)
  }
}

const giveBack = (turn: Turn, lease: LeaseId): void => {
  const loan = Option.getOrNull(HashMap.get(turn.loans, lease))
  if (loan !== null) {
    turn.loans = HashMap.remove(turn.loans, lease)
    turn.room = Room.give(turn.room, hostOf(turn, loan.host), loan.price)
    discharge(turn, loan)
    return settle(turn, loan.host)
  }
  const waiting = Line.find(turn.line, lease)
  if (waiting === null) return
  const kept = unkeep(turn, waiting)
  turn.line = Line.leave(turn.line, waiting)
  turn.overtaken = HashMap.remove(turn.overtaken, lease)
  if (kept !== null) settle(turn, kept)
}

const join = (turn: Turn, host: Host): void => {
  const before = Room.find(turn.room, host.id)
  if (before !== null && before.keptFor !== null) dissolve(turn, before.keptFor)
  turn.room = Room.join(turn.room, host)
  const makes = Room.makes(turn.room)
  turn.line = Line.rescale(turn.line, turn.room.total, (kind) => takersOf(makes, kind).map(({ key }) => key))
  settle(turn, host.id)
}

const setState = (turn: Turn, id: HostId, state: Room.State): void => {
  const entry = Room.find(turn.room, id)
  if (entry === null) return
  if (state !== "open" && entry.keptFor !== null) dissolve(turn, entry.keptFor)
  turn.room = Room.setState(turn.room, hostOf(turn, id), state)
  if (state === "open") settle(turn, id)
}

/** Lends what is free of a host, as long as somebody waits who fits. */
const settle = (turn: Turn, id: HostId): void => {
  for (;;) {
    const entry = hostOf(turn, id)
    if (entry.state !== "open") return
    if (entry.keptFor !== null) {
      const waiting = waitingFor(turn, entry.keptFor)
      if (!fits(priceOn(entry.host, waiting.need), entry.free)) return
      grant(turn, waiting, entry)
      continue
    }
    const make = Room.makeOf(turn.room, entry.make)
    const aside = Line.chooseAside(turn.line, make, entry.free)
    if (aside !== null) {
      const kept = grant(turn, aside, entry)
      if (kept !== null) settle(turn, kept)
      continue
    }
    const next = Line.choose(turn.line, make, entry.free)
    if (next === null) return
    const first = Line.choose(turn.line, make, wholeOf(entry.host)) ?? next
    if (first === next || mayOvertake(turn, next, first)) grant(turn, next, entry)
    else keep(turn, first)
  }
}

/**
 * Others have waited for their turn already when they come first, and would pay for every wait of theirs with room that
 * they do not get. Within an account, what small builds gain by going before a large one is more than it loses.
 */
const mayOvertake = (turn: Turn, next: Waiting, first: Waiting): boolean => {
  const { account, lease } = first.need
  const known = Option.getOrNull(HashMap.get(turn.overtaken, lease))
  if (next.need.account === account && known === null) turn.overtaken = HashMap.set(turn.overtaken, lease, turn.at)
  const since = next.need.account === account ? (known ?? turn.at) : first.since
  return turn.at - since < overtakenSecondsMax * 1000
}

/** Says which host was kept for it, if one was. */
const grant = (turn: Turn, waiting: Waiting, { host }: Room.Entry): HostId | null => {
  const { need } = waiting
  const kept = unkeep(turn, waiting)
  const price = priceOn(host, need)
  turn.line = Line.charge(Line.leave(turn.line, waiting), need.account, price)
  turn.overtaken = HashMap.remove(turn.overtaken, need.lease)
  turn.room = Room.take(turn.room, hostOf(turn, host.id), price)
  turn.loans = HashMap.set(turn.loans, need.lease, { host: host.id, account: need.account, price, at: turn.at })
  const { lease: id, memoryBytes } = need
  const lease = new Lease({ id, host: host.id, cores: coresOn(host, need), memoryBytes })
  turn.decisions.push({ _tag: "Granted", lease })
  return kept
}

const keep = (turn: Turn, waiting: Waiting): void => {
  const { account, lease } = waiting.need
  // There is one at least: that on which it is about to be overtaken.
  const { host } = Room.nearest(turn.room, Line.takers(turn.line, waiting), waiting.need)!
  const price = priceOn(host, waiting.need)
  turn.room = Room.keep(turn.room, hostOf(turn, host.id), lease)
  turn.line = Line.charge(Line.setAside(turn.line, waiting), account, price)
  turn.kept = HashMap.set(turn.kept, lease, { host: host.id, account, price, at: turn.at })
}

/** No host is kept for it any more; says which one was. */
const unkeep = (turn: Turn, { need: { lease } }: Waiting): HostId | null => {
  const kept = Option.getOrNull(HashMap.get(turn.kept, lease))
  if (kept === null) return null
  turn.kept = HashMap.remove(turn.kept, lease)
  turn.room = Room.keep(turn.room, hostOf(turn, kept.host), null)
  discharge(turn, kept)
  return kept.host
}

/** Back into the order, its host being no more to be had. */
const dissolve = (turn: Turn, lease: LeaseId): void => {
  const waiting = waitingFor(turn, lease)
  turn.line = Line.putBack(turn.line, waiting)
  unkeep(turn, waiting)
}

const discharge = (turn: Turn, { account, at, price }: Loan): void => {
  turn.line = Line.release(turn.line, account, price, (turn.at - at) / 1000)
}

// Whatever is lent or kept is of a host that is registered, and whoever a host is kept for waits.
const hostOf = (turn: Turn, id: HostId): Room.Entry => Room.find(turn.room, id)!
const waitingFor = (turn: Turn, lease: LeaseId): Waiting => Line.find(turn.line, lease)!
