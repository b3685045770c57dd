/**
 * Whether leases are given in a fair order, as far as the record tells it.
 *
 * An account's share is the larger of its parts of all cores and of all memory, as lent to it and divided by its weight.
 * Whoever is given a lease has no larger share than any other account that waits for one like it, in system, features
 * and cores, and for no more memory: what the one is given would have done for the other. Left out are those for whom a
 * host is kept: a build that has waited for long gets one whatever its account's share. What is kept counts as lent to
 * those who were passed over, and not to the one who is given a lease, so that no complaint hangs on when it began.
 */
import type { AccountId } from "./Account.ts"
import type { HostId } from "./Host.ts"
import type { LeaseId } from "./Lease.ts"
import type { Loan } from "./Marker.ts"

interface Amount {
  cores: number
  memoryBytes: number
}

/** Shares are sums of parts, and come out a little differently in another order. */
const tolerance = 1e-9

export class Fairness {
  readonly #hosts = new Map<HostId, Amount>()
  readonly #weights = new Map<AccountId, number>()
  readonly #lent = new Map<AccountId, Amount>()
  readonly #kept = new Map<AccountId, Amount>()
  /** By what is asked for, and by account: the memory that each asks for. */
  readonly #waiting = new Map<string, Map<AccountId, Map<LeaseId, number>>>()

  forget() {
    for (const each of [this.#hosts, this.#weights, this.#lent, this.#kept, this.#waiting]) each.clear()
  }

  get weights(): ReadonlyArray<readonly [AccountId, number]> {
    return [...this.#weights]
  }

  setHost(host: HostId, size: Amount) {
    this.#hosts.set(host, size)
  }

  setWeight(account: AccountId, weight: number) {
    this.#weights.set(account, weight)
  }

  wait(lease: LeaseId, { account, asked, shape }: Loan) {
    const accounts = this.#waiting.get(shape) ?? new Map<AccountId, Map<LeaseId, number>>()
    const leases = accounts.get(account) ?? new Map<LeaseId, number>()
    this.#waiting.set(shape, accounts.set(account, leases.set(lease, asked)))
  }

  /** It waits no more, or for a host that is kept for it. */
  leave(lease: LeaseId, { account, shape }: Loan) {
    const accounts = this.#waiting.get(shape)
    const leases = accounts?.get(account)
    leases?.delete(lease)
    if (leases?.size === 0) accounts?.delete(account)
    if (accounts?.size === 0) this.#waiting.delete(shape)
  }

  lend(account: AccountId, amount: Amount, sign: 1 | -1) {
    change(this.#lent, account, amount, sign)
  }

  keep(account: AccountId, amount: Amount, sign: 1 | -1) {
    change(this.#kept, account, amount, sign)
  }

  /** Who was passed over by whoever is given this lease, before it counts; null if nobody. */
  passedOver({ account, asked, shape }: Loan): { readonly account: AccountId; readonly lease: LeaseId } | null {
    const total = { cores: 0, memoryBytes: 0 }
    for (const host of this.#hosts.values()) add(total, host, 1)
    const share = this.#share(account, total, false)
    for (const [other, leases] of this.#waiting.get(shape) ?? []) {
      if (other === account || this.#share(other, total, true) + tolerance >= share) continue
      for (const [lease, memoryBytes] of leases) if (memoryBytes <= asked) return { account: other, lease }
    }
    return null
  }

  #share(account: AccountId, total: Amount, withKept: boolean): number {
    const held = { cores: 0, memoryBytes: 0 }
    add(held, this.#lent.get(account) ?? nothing, 1)
    if (withKept) add(held, this.#kept.get(account) ?? nothing, 1)
    const part = Math.max(held.cores / Math.max(1, total.cores), held.memoryBytes / Math.max(1, total.memoryBytes))
    return part / (this.#weights.get(account) ?? 1)
  }
}

const nothing: Readonly<Amount> = { cores: 0, memoryBytes: 0 }

const add = (to: Amount, { cores, memoryBytes }: Readonly<Amount>, sign: 1 | -1) => {
  to.cores += sign * cores
  to.memoryBytes += sign * memoryBytes
}

const change = (all: Map<AccountId, Amount>, account: AccountId, amount: Amount, sign: 1 | -1) => {
  const held = all.get(account) ?? { cores: 0, memoryBytes: 0 }
  add(held, amount, sign)
  all.set(account, held)
}
