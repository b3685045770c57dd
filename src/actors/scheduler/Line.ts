/**
 * Who waits, in the order that `Order` says.
 *
 * Builds that ask for the same, but for memory, are of one *shape*. An account's builds of a shape stand in a tree that
 * knows the least memory among them, and the accounts in a tree of the shape that knows the least of all. So the first
 * in order that fits is found in O(s log n) among n builds of s shapes, whatever they ask for; how many shapes there
 * are, hosts decide: by their systems and features, which bound what is asked for, and their cores.
 */
import { HashMap, Option } from "effect"
import type { AccountId } from "../../domain/Account.ts"
import type { LeaseId } from "../../domain/Lease.ts"
import type { Need } from "../../domain/Need.ts"
import {
  type Account,
  asides,
  type Contender,
  contenders,
  dominant,
  lanes,
  servedSecondsMin,
  urgencyOf,
  type Waiting
} from "./Order.ts"
import { type Amount, type Kind, minus, plus } from "./Placement.ts"
import type { Make } from "./Room.ts"
import * as Tree from "./Tree.ts"

interface Shape {
  readonly kind: Kind
  readonly cores: Need["cores"]
  /** The makes of host that may take it. */
  readonly takers: ReadonlySet<string>
  readonly contenders: Tree.Tree<Contender>
  /** Those for whom a host is kept, in the order of their arrival. */
  readonly aside: Tree.Tree<Waiting>
}

export interface Line {
  readonly total: Amount
  /** All that ever asked: there are no more than the operator made. */
  readonly accounts: HashMap.HashMap<AccountId, Account>
  readonly shapes: HashMap.HashMap<string, Shape>
  readonly waiting: HashMap.HashMap<LeaseId, Waiting>
  /** What the account last given a lease had been served by then, or a former one, if that was more. */
  readonly floor: number
  readonly arrivals: number
}

export const empty: Line = {
  total: { cores: 0, memoryBytes: 0 },
  accounts: HashMap.empty(),
  shapes: HashMap.empty(),
  waiting: HashMap.empty(),
  floor: 0,
  arrivals: 0
}

export const find = (line: Line, lease: LeaseId): Waiting | null => Option.getOrNull(HashMap.get(line.waiting, lease))

const shapeOf = ({ cores, features, system }: Need): string =>
  JSON.stringify([system, [...new Set(features)].sort(), cores])

/** Comes into its account's line; `takers` are asked for only of a shape that nobody waits for. */
export const enter = (line: Line, need: Need, since: number, takers: () => ReadonlyArray<string>): Line => {
  const shape = shapeOf(need)
  const waiting: Waiting = { need, shape, ordinal: line.arrivals, since, urgency: urgencyOf(need.rank, since) }
  const account = accountOf(line, need.account)
  const isAway = HashMap.isEmpty(account.lanes) && account.leases === 0
  const entered: Line = {
    ...line,
    arrivals: line.arrivals + 1,
    waiting: HashMap.set(line.waiting, need.lease, waiting),
    accounts: HashMap.set(line.accounts, account.id, {
      ...account,
      served: isAway ? Math.max(account.served, line.floor) : account.served
    }),
    shapes: HashMap.has(line.shapes, shape)
      ? line.shapes
      : HashMap.set(line.shapes, shape, {
          kind: { system: need.system, features: need.features },
          cores: need.cores,
          takers: new Set(takers()),
          contenders: null,
          aside: null
        })
  }
  return putBack(entered, waiting)
}

/** Out of the line, and forgotten. */
export const leave = (line: Line, waiting: Waiting): Line =>
  tidy({ ...takeOut(line, waiting), waiting: HashMap.remove(line.waiting, waiting.need.lease) }, waiting.shape)

/** Out of the order, as one for whom a host is kept. */
export const setAside = (line: Line, waiting: Waiting): Line =>
  setShape(takeOut(line, waiting), waiting.shape, (shape) => ({
    ...shape,
    aside: Tree.insert(asides, shape.aside, waiting)
  }))

/** Into the order: as it came, or as one for whom no host is kept any more. */
export const putBack = (line: Line, waiting: Waiting): Line => {
  const account = accountOf(line, waiting.need.account)
  const lane = Tree.insert(lanes, laneOf(account, waiting.shape), waiting)
  return setAccount(withoutAside(line, waiting), {
    ...account,
    lanes: HashMap.set(account.lanes, waiting.shape, lane)
  })
}

/** The same, of one that is in the order, with a longer or shorter way to the end of its graph. */
export const reprioritise = (line: Line, waiting: Waiting, rank: number): Line => {
  const after: Waiting = { ...waiting, urgency: urgencyOf(rank, waiting.since) }
  const without = takeOut(line, waiting)
  return putBack({ ...without, waiting: HashMap.set(without.waiting, waiting.need.lease, after) }, after)
}

/** Lends to an account, or keeps for it: that counts as much. */
export const charge = (line: Line, id: AccountId, price: Amount): Line => {
  const account = accountOf(line, id)
  const floor = Math.max(line.floor, account.served)
  return setAccount({ ...line, floor }, { ...account, held: plus(account.held, price), leases: account.leases + 1 })
}

/** What was charged is over, after so long. */
export const release = (line: Line, id: AccountId, price: Amount, seconds: number): Line => {
  const account = accountOf(line, id)
  const cost = (dominant(line.total, price) * Math.max(servedSecondsMin, seconds)) / account.weight
  return setAccount(line, {
    ...account,
    held: minus(account.held, price),
    leases: account.leases - 1,
    served: account.served + cost
  })
}

export const weigh = (line: Line, id: AccountId, weight: number): Line =>
  setAccount(line, { ...accountOf(line, id), weight })

/** The first in order that a host of this make could take if it had this much free. */
export const choose = (line: Line, make: Make, free: Amount): Waiting | null => {
  const limit = free.memoryBytes - make.host.overheadBytes
  const able = [...HashMap.entries(line.shapes)].filter(([, shape]) => isFor(shape, make, free))
  let next: Contender | null = null
  for (const [, shape] of able) {
    const found = Tree.firstWithin(contenders, shape.contenders, limit)
    if (found !== null && (next === null || contenders.compare(found, next) < 0)) next = found
  }
  if (next === null) return null
  const account = accountOf(line, next.id)
  let best: Waiting | null = null
  for (const [key] of able) {
    const found = Tree.firstWithin(lanes, laneOf(account, key), limit)
    if (found !== null && (best === null || lanes.compare(found, best) < 0)) best = found
  }
  return best
}

/** The same, of those for whom another host is kept. */
export const chooseAside = (line: Line, make: Make, free: Amount): Waiting | null => {
  let best: Waiting | null = null
  for (const shape of HashMap.values(line.shapes)) {
    if (shape.aside === null || !isFor(shape, make, free)) continue
    const found = Tree.firstWithin(asides, shape.aside, free.memoryBytes - make.host.overheadBytes)
    if (found !== null && (best === null || asides.compare(found, best) < 0)) best = found
  }
  return best
}

const isFor = (shape: Shape, { host, key }: Make, free: Amount): boolean =>
  (shape.cores === "all" ? host.cores : shape.cores) <= free.cores && shape.takers.has(key)

/** Hosts have been registered: shares are parts of this, and these makes may take what waits. */
export const rescale = (line: Line, total: Amount, takersOf: (kind: Kind) => ReadonlyArray<string>): Line => {
  const shapes = HashMap.map(line.shapes, (shape) => ({ ...shape, takers: new Set(takersOf(shape.kind)) }))
  let after: Line = { ...line, total, shapes }
  for (const account of HashMap.values(line.accounts)) after = setAccount(after, account)
  return after
}

export const takers = (line: Line, waiting: Waiting): ReadonlyArray<string> => [
  ...HashMap.getUnsafe(line.shapes, waiting.shape).takers
]

/** How many are likely to get a lease before it: of its own account, and of others by turns. */
export const countBefore = (line: Line, waiting: Waiting): number => {
  const own = accountOf(line, waiting.need.account)
  const { takers } = HashMap.getUnsafe(line.shapes, waiting.shape)
  const rivals = [...HashMap.entries(line.shapes)].filter(([, shape]) =>
    [...takers].some((make) => shape.takers.has(make))
  )
  let kept = 0
  let before = 0
  for (const [key, shape] of rivals) {
    kept += Tree.size(shape.aside)
    before += Tree.countBefore(lanes, laneOf(own, key), waiting)
  }
  const others = new Map<AccountId, number>()
  for (const [, shape] of rivals) {
    for (const { id, lane } of Tree.values(shape.contenders)) others.set(id, (others.get(id) ?? 0) + Tree.size(lane))
  }
  others.delete(own.id)
  let turns = 0
  for (const [id, count] of others) {
    const account = accountOf(line, id)
    const isSooner = account.share < own.share || (account.share === own.share && account.served < own.served)
    turns += Math.min(count, Math.round(((before + (isSooner ? 1 : 0)) * account.weight) / own.weight))
  }
  return kept + before + turns
}

const accountOf = (line: Line, id: AccountId): Account =>
  Option.getOrElse(HashMap.get(line.accounts, id), () => ({
    id,
    ordinal: HashMap.size(line.accounts),
    weight: 1,
    held: { cores: 0, memoryBytes: 0 },
    leases: 0,
    share: 0,
    served: line.floor,
    lanes: HashMap.empty()
  }))

const laneOf = ({ lanes }: Account, shape: string): Tree.Tree<Waiting> => Option.getOrNull(HashMap.get(lanes, shape))

const setShape = (line: Line, key: string, change: (shape: Shape) => Shape): Line => ({
  ...line,
  shapes: HashMap.modify(line.shapes, key, change)
})

const withoutAside = (line: Line, waiting: Waiting): Line =>
  setShape(line, waiting.shape, (shape) =>
    shape.aside === null ? shape : { ...shape, aside: Tree.remove(asides, shape.aside, waiting) }
  )

/** Out of the order or from aside, wherever it is. */
const takeOut = (line: Line, waiting: Waiting): Line => {
  const account = accountOf(line, waiting.need.account)
  const lane = Tree.remove(lanes, laneOf(account, waiting.shape), waiting)
  return setAccount(withoutAside(line, waiting), {
    ...account,
    lanes:
      lane === null ? HashMap.remove(account.lanes, waiting.shape) : HashMap.set(account.lanes, waiting.shape, lane)
  })
}

/** An account as it is now: its place in every shape that it waits for follows from it. */
const setAccount = (line: Line, changed: Account): Line => {
  const before = HashMap.get(line.accounts, changed.id)
  const after: Account = { ...changed, share: dominant(line.total, changed.held) / changed.weight }
  const old = Option.getOrElse(before, () => ({ ...after, lanes: noLanes }))
  const isMoved = old.share !== after.share || old.served !== after.served
  let { shapes } = line
  for (const key of new Set([...HashMap.keys(old.lanes), ...HashMap.keys(after.lanes)])) {
    const [was, is] = [laneOf(old, key), laneOf(after, key)]
    if (!isMoved && was === is) continue
    shapes = HashMap.modify(shapes, key, (shape) => {
      const others = was === null ? shape.contenders : Tree.remove(contenders, shape.contenders, contender(old, was))
      return { ...shape, contenders: is === null ? others : Tree.insert(contenders, others, contender(after, is)) }
    })
  }
  return { ...line, shapes, accounts: HashMap.set(line.accounts, after.id, after) }
}

const noLanes: Account["lanes"] = HashMap.empty()

const contender = ({ id, ordinal, served, share }: Account, lane: Tree.Tree<Waiting>): Contender => ({
  id,
  ordinal,
  served,
  share,
  lane
})

/** Forgets a shape that nobody waits for. */
const tidy = (line: Line, key: string): Line => {
  const { aside, contenders } = HashMap.getUnsafe(line.shapes, key)
  return aside === null && contenders === null ? { ...line, shapes: HashMap.remove(line.shapes, key) } : line
}
