/**
 * What the accounts of a simulation may have, and whether the service holds them to it: no more than that, and no less.
 *
 * A quota may be changed meanwhile, and what was said just before counts for a moment. So whoever is refused must have
 * reached the least that it ever was, and nobody gets more than the most; in most simulations both are one.
 */
import type { Account, AccountId } from "../../src/domain/Account.ts"
import type { Event } from "../../src/domain/Event.ts"
import { type Overrides, type QuotaName, table } from "../../src/domain/Quota.ts"
import type { Chance } from "./Chance.ts"

interface Bounds {
  least: number
  most: number
}

/** Of whom nothing is said in a simulation, who has as much as comes. */
const unbounded: Bounds = { least: Infinity, most: Infinity }

/** What is said of accounts now and then, and with which probability. */
const habits: ReadonlyArray<readonly [name: QuotaName, probability: number, amount: (chance: Chance) => number]> = [
  ["builds", 0.25, (chance) => chance.between(1, 6)],
  ["running", 0.25, (chance) => chance.between(1, 3)],
  ["share", 0.2, (chance) => chance.between(1, 4)],
  ["connections", 0.15, (chance) => chance.between(1, 5)],
  ["stored", 0.05, (chance) => chance.between(1, 6) * 120],
  ["log", 0.1, (chance) => chance.between(10, 60)],
  ["upload", 0.05, (chance) => chance.between(200, 5000)],
  ["download", 0.05, (chance) => chance.between(200, 5000)]
]

export class Allowances {
  readonly #bounds = new Map<string, Bounds>()
  readonly #accounts: ReadonlyMap<AccountId, Account>
  /** Leases asked for and not given back, by account. */
  readonly #leases = new Map<string, AccountId>()
  readonly #leased = new Map<AccountId, number>()

  constructor(accounts: ReadonlyArray<Account>) {
    this.#accounts = new Map(accounts.map((account) => [account.id, account]))
  }

  /** What is said of an account at first. */
  first(account: AccountId, chance: Chance): Overrides {
    const said = habits.flatMap(([name, probability, amount]) =>
      chance.happens(probability) ? [[name, amount(chance)] as const] : []
    )
    for (const [name, amount] of said) this.#bounds.set(`${account} ${name}`, { least: amount, most: amount })
    return Object.fromEntries(said)
  }

  /** Something of one account is about to be said anew. */
  change(chance: Chance): readonly [account: AccountId, name: QuotaName, amount: number] {
    const account = chance.pick([...this.#accounts.keys()])
    const [name, , amount] = chance.pick(habits)
    const said = amount(chance)
    const { least, most } = this.bounds(account, name)
    this.#bounds.set(`${account} ${name}`, { least: Math.min(least, said), most: Math.max(most, said) })
    return [account, name, said]
  }

  bounds(account: AccountId, name: QuotaName): Bounds {
    return this.#bounds.get(`${account} ${name}`) ?? unbounded
  }

  /** Which quota it was that a refusal speaks of; null if it is of none. */
  named(refusal: string): QuotaName | null {
    const names: ReadonlyArray<QuotaName> = ["builds", "connections", "stored"]
    return names.find((name) => refusal.includes(table[name].counts)) ?? null
  }

  /** Of leases asked for no account has more at a time than it may have builds running. */
  readonly rule = (event: Event): string | null => {
    switch (event._tag) {
      case "ServerStarted":
        this.#leases.clear()
        this.#leased.clear()
        return null
      case "LeaseRequested": {
        const { account, lease } = event
        const count = (this.#leased.get(account) ?? 0) + 1
        this.#leases.set(lease, account)
        this.#leased.set(account, count)
        const { most } = this.bounds(account, "running")
        const name = this.#accounts.get(account)?.name ?? account
        return count > most ? `${name} may have ${most} builds running, and asks for ${count} leases` : null
      }
      case "LeaseReturned": {
        const account = this.#leases.get(event.lease)
        if (account !== undefined) this.#leased.set(account, (this.#leased.get(account) ?? 0) - 1)
        this.#leases.delete(event.lease)
        return null
      }
      default:
        return null
    }
  }
}
