/**
 * Who comes before whom.
 *
 * Between accounts, the one with the smallest *share* comes first: the larger of its parts of all cores and of all
 * memory, as lent to it now and divided by its weight. Where that is equal, which on few hosts it often is, the one that
 * has been *served* less: share times seconds. So a host with room for one build is shared by time, and not by the
 * number of builds. Nobody saves up: an account that had nothing here begins with what the last one served has had.
 *
 * Within an account, the build with the longest way to the end of its graph comes first, and a build gains on later ones
 * by `agingPerSecond` for every second that it has waited longer. A rank counts at most `rankSecondsMax`, so at most what
 * arrives within `rankSecondsMax / agingPerSecond` of it goes before a build of the same account.
 */
import type { HashMap } from "effect"
import type { AccountId } from "../../domain/Account.ts"
import type { Need } from "../../domain/Need.ts"
import type { Amount } from "./Placement.ts"
import * as Tree from "./Tree.ts"

/** A rank beyond it counts as this: a client that claims ever longer graphs would otherwise never let the rest go. */
export const rankSecondsMax = 6 * 3600

/** Without it a build with a short way to go would wait for ever behind later ones; more of it costs critical paths. */
export const agingPerSecond = 1 / 16

/** A lease costs as much as one of this length: else builds that end at once would go before others without end. */
export const servedSecondsMin = 1

export interface Waiting {
  readonly need: Need
  readonly shape: string
  /** Of arrival. */
  readonly ordinal: number
  /** Milliseconds since the epoch. */
  readonly since: number
  /** Less is sooner. */
  readonly urgency: number
}

export interface Account {
  readonly id: AccountId
  readonly ordinal: number
  readonly weight: number
  readonly held: Amount
  readonly leases: number
  readonly share: number
  readonly served: number
  /** By shape. */
  readonly lanes: HashMap.HashMap<string, Tree.Tree<Waiting>>
}

/** An account as it waits for one shape. */
export interface Contender extends Pick<Account, "id" | "ordinal" | "share" | "served"> {
  readonly lane: Tree.Tree<Waiting>
}

const memoryOf = ({ need }: Waiting): number => need.memoryBytes

export const lanes: Tree.Order<Waiting> = {
  compare: (a, b) => a.urgency - b.urgency || a.ordinal - b.ordinal,
  measure: memoryOf
}

export const asides: Tree.Order<Waiting> = { compare: (a, b) => a.ordinal - b.ordinal, measure: memoryOf }

export const contenders: Tree.Order<Contender> = {
  compare: (a, b) => a.share - b.share || a.served - b.served || a.ordinal - b.ordinal,
  measure: ({ lane }) => Tree.least(lane)
}

/** The larger of the parts of all there is. */
export const dominant = (total: Amount, { cores, memoryBytes }: Amount): number =>
  Math.max(cores / Math.max(1, total.cores), memoryBytes / Math.max(1, total.memoryBytes))

/** What `Waiting` is ordered by: when it was asked for, less its way to go. */
export const urgencyOf = (rank: number, since: number): number =>
  (since / 1000) * agingPerSecond - Math.min(rank, rankSecondsMax)
