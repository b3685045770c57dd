/**
 * The hosts that are registered, and what of each is free.
 *
 * Hosts with equal systems, features and sizes are of one make, and are asked for as one: each make keeps those that can
 * be lent from in order of what they have free. So a place is found in O(m log n) among n hosts of m makes that could
 * take the build.
 *
 * Invariant: a host is in its make's `open` exactly if it is in service and kept free for nobody.
 */
import { HashMap, Option } from "effect"
import type { Host, HostId } from "../../domain/Host.ts"
import type { LeaseId } from "../../domain/Lease.ts"
import type { Need } from "../../domain/Need.ts"
import { type Amount, fits, minus, plus, priceOn, wholeOf } from "./Placement.ts"
import * as Tree from "./Tree.ts"

/** `open`: in service. Of the others nothing more is lent. That a host is gone, its builders say, each to its build. */
export type State = "open" | "draining" | "quarantined"

export interface Entry {
  readonly host: Host
  readonly make: string
  /** Below zero only on a host that was registered again, smaller than what is lent of it. */
  readonly free: Amount
  readonly state: State
  /** For whom it is kept free. */
  readonly keptFor: LeaseId | null
}

export interface Make {
  readonly key: string
  /** One of them: they differ in nothing but their names. */
  readonly host: Host
  /** How many there are, and how many of them are in service. */
  readonly hosts: number
  readonly serving: number
  readonly open: Tree.Tree<Entry>
}

export interface Room {
  readonly hosts: HashMap.HashMap<HostId, Entry>
  readonly makes: HashMap.HashMap<string, Make>
  /** Of all that are registered, in service or not: what shares are measured by. */
  readonly total: Amount
}

export const empty: Room = { hosts: HashMap.empty(), makes: HashMap.empty(), total: { cores: 0, memoryBytes: 0 } }

/** Fewest free cores first, then least free memory. */
const order: Tree.Order<Entry> = {
  compare: (a, b) =>
    a.free.cores - b.free.cores ||
    a.free.memoryBytes - b.free.memoryBytes ||
    (a.host.id < b.host.id ? -1 : a.host.id > b.host.id ? 1 : 0),
  measure: ({ free }) => -free.memoryBytes
}

export const find = (room: Room, id: HostId): Entry | null => Option.getOrNull(HashMap.get(room.hosts, id))

/** A make is there as long as there is a host of it. */
export const makeOf = (room: Room, key: string): Make => HashMap.getUnsafe(room.makes, key)

export const makes = (room: Room): ReadonlyArray<Make> => HashMap.toValues(room.makes)

const isOpen = ({ keptFor, state }: Entry): boolean => state === "open" && keptFor === null

const servingIn = ({ state }: Entry): number => (state === "open" ? 1 : 0)

/** Puts `after` in the place of what was there of that host. */
const replace = (room: Room, before: Entry | null, after: Entry): Room => {
  let all = room.makes
  const change = (key: string, change: (make: Make) => Make) => {
    all = HashMap.modify(all, key, change)
  }
  if (before !== null) {
    change(before.make, (make) => ({
      ...make,
      hosts: make.hosts - 1,
      serving: make.serving - servingIn(before),
      open: isOpen(before) ? Tree.remove(order, make.open, before) : make.open
    }))
  }
  change(after.make, (make) => ({
    ...make,
    hosts: make.hosts + 1,
    serving: make.serving + servingIn(after),
    open: isOpen(after) ? Tree.insert(order, make.open, after) : make.open
  }))
  // What no host is any more, nobody is to wait for.
  if (before !== null && HashMap.getUnsafe(all, before.make).hosts === 0) all = HashMap.remove(all, before.make)
  return { ...room, makes: all, hosts: HashMap.set(room.hosts, after.host.id, after) }
}

const keyOf = ({ cores, emulatedSystems, features, memoryBytes, overheadBytes, systems }: Host): string =>
  JSON.stringify([
    systems.toSorted(),
    emulatedSystems.toSorted(),
    features.toSorted(),
    cores,
    memoryBytes,
    overheadBytes
  ])

/** Registers a host, in service; one that is known already, as it is now. */
export const join = (room: Room, host: Host): Room => {
  const before = find(room, host.id)
  const key = keyOf(host)
  const makes = HashMap.has(room.makes, key)
    ? room.makes
    : HashMap.set(room.makes, key, { key, host, hosts: 0, serving: 0, open: null })
  const lent = before === null ? { cores: 0, memoryBytes: 0 } : minus(wholeOf(before.host), before.free)
  const after: Entry = { host, make: key, free: minus(wholeOf(host), lent), state: "open", keptFor: null }
  const others = before === null ? room.total : minus(room.total, wholeOf(before.host))
  return replace({ ...room, makes, total: plus(others, wholeOf(host)) }, before, after)
}

export const setState = (room: Room, entry: Entry, state: State): Room => replace(room, entry, { ...entry, state })

export const keep = (room: Room, entry: Entry, keptFor: LeaseId | null): Room =>
  replace(room, entry, { ...entry, keptFor })

export const take = (room: Room, entry: Entry, price: Amount): Room =>
  replace(room, entry, { ...entry, free: minus(entry.free, price) })

export const give = (room: Room, entry: Entry, price: Amount): Room =>
  replace(room, entry, { ...entry, free: plus(entry.free, price) })

/** Whether a host that is not lent has this much free, or is free: then it stays so. */
export const isVacant = (room: Room, id: HostId, need: Pick<Need, "cores" | "memoryBytes">): boolean => {
  const entry = find(room, id)
  if (entry === null || entry.state === "open") return false
  const [price, whole] = [priceOn(entry.host, need), wholeOf(entry.host)]
  const cores = Math.min(price.cores, whole.cores)
  return fits({ cores, memoryBytes: Math.min(price.memoryBytes, whole.memoryBytes) }, entry.free)
}

/** The host that has room for it now and will have the least left. */
export const place = (room: Room, takers: ReadonlyArray<string>, need: Need): Entry | null => {
  let best: Entry | null = null
  let left = { cores: Infinity, memoryBytes: Infinity }
  for (const key of takers) {
    const { host, open } = makeOf(room, key)
    const price = priceOn(host, need)
    const found = Tree.firstFrom(order, open, ({ free }) => free.cores >= price.cores, -price.memoryBytes)
    if (found === null) continue
    const after = minus(found.free, price)
    if (isLess(after, left) || (!isLess(left, after) && (best === null || found.host.id < best.host.id))) {
      best = found
      left = after
    }
  }
  return best
}

/** Of each make that could take it, the one with the most free; of those, the one that lacks the least. */
export const nearest = (room: Room, takers: ReadonlyArray<string>, need: Need): Entry | null => {
  let best: Entry | null = null
  let missing = { cores: Infinity, memoryBytes: Infinity }
  for (const key of takers) {
    const { host, open } = makeOf(room, key)
    const price = priceOn(host, need)
    const found = fits(price, wholeOf(host)) ? Tree.last(open) : null
    if (found === null) continue
    const lacks = {
      cores: Math.max(0, price.cores - found.free.cores),
      memoryBytes: Math.max(0, price.memoryBytes - found.free.memoryBytes)
    }
    if (isLess(lacks, missing) || (!isLess(missing, lacks) && (best === null || found.host.id < best.host.id))) {
      best = found
      missing = lacks
    }
  }
  return best
}

const isLess = (a: Amount, b: Amount): boolean =>
  a.cores < b.cores || (a.cores === b.cores && a.memoryBytes < b.memoryBytes)
