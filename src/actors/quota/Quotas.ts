/**
 * What accounts have of the service, held against what they may have.
 *
 * Whoever begins something that counts takes its part first, for as long as a scope is open, and is told when there is
 * none left. What is counted here is what is open now; bytes stored are counted by the store. An account is remembered
 * from its first connection on, and costs some hundred bytes.
 */
import { Context, Effect, Layer, PubSub, type Scope } from "effect"
import type { Account, AccountId } from "../../domain/Account.ts"
import { type Overrides, type Quota, type QuotaName, QuotaReached, standard } from "../../domain/Quota.ts"
import { QuotaRepository } from "../../storage/QuotaRepository.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Pace from "./Pace.ts"

/** What an account has, where that is counted. */
export type Use = { readonly [N in "connections" | "builds" | "stored"]: number }

export class Quotas extends Context.Service<
  Quotas,
  {
    readonly of: (account: AccountId) => Effect.Effect<Quota, StorageError>
    readonly used: (account: Account) => Effect.Effect<Use, StorageError>
    /** Counts at once, for what is open as well. Undefined: what accounts have of which nothing is said. */
    readonly set: (
      account: AccountId,
      name: QuotaName,
      amount: number | null | undefined
    ) => Effect.Effect<void, StorageError>
    /** Accounts of which something new has been said, from now on. */
    readonly changes: Effect.Effect<PubSub.Subscription<AccountId>, never, Scope.Scope>
    /** One more of these, until the scope closes. */
    readonly take: (
      account: Account,
      name: "connections" | "builds"
    ) => Effect.Effect<void, QuotaReached | StorageError, Scope.Scope>
    /** Room for so many bytes more, until the scope closes: by then they are stored, or do not come. */
    readonly reserve: (account: Account, bytes: number) => Effect.Effect<void, QuotaReached | StorageError, Scope.Scope>
    /** How many bytes there is room for; null for as many as come. */
    readonly room: (account: Account) => Effect.Effect<number | null, StorageError>
    /** What the account receives and sends is paid for here. */
    readonly paces: (
      account: AccountId
    ) => Effect.Effect<{ readonly upload: Pace.Pace; readonly download: Pace.Pace }, StorageError>
  }
>()("drover/actors/Quotas") {
  /** `storedBytes`: what an account may store of which nothing is said. */
  static readonly layer = (options: { readonly storedBytes: number | null }) => Layer.effect(Quotas, make(options))
}

/** What is known of an account since it was first asked of. */
interface Known {
  quota: Quota
  connections: number
  builds: number
  /** Bytes that are on their way into the store. */
  reserved: number
  readonly upload: Pace.Pace
  readonly download: Pace.Pace
}

const make = Effect.fnUntraced(function* ({ storedBytes }: { readonly storedBytes: number | null }) {
  const records = yield* QuotaRepository
  const views = yield* ViewRepository
  const accounts = new Map<AccountId, Known>()
  const changed = yield* PubSub.unbounded<AccountId>()

  const quotaOf = (overrides: Overrides): Quota => ({ ...standard(storedBytes), ...overrides })

  const know = Effect.fnUntraced(function* (account: AccountId) {
    const before = accounts.get(account)
    if (before !== undefined) return before
    const quota = quotaOf(yield* records.find(account))
    // Somebody else may have come to know it meanwhile, and what they count is counted there.
    const meanwhile = accounts.get(account)
    if (meanwhile !== undefined) return meanwhile
    const known: Known = {
      quota,
      connections: 0,
      builds: 0,
      reserved: 0,
      upload: Pace.make(() => known.quota.upload),
      download: Pace.make(() => known.quota.download)
    }
    accounts.set(account, known)
    return known
  })

  const check = ({ name }: Account, { quota }: Known, what: QuotaName, found: number) => {
    const max = quota[what]
    return max !== null && found > max
      ? Effect.fail(new QuotaReached({ quota: what, account: name, max, found }))
      : Effect.void
  }

  const take: Quotas["Service"]["take"] = (account, name) =>
    Effect.flatMap(know(account.id), (known) =>
      Effect.acquireRelease(
        Effect.suspend(() =>
          Effect.andThen(
            check(account, known, name, known[name] + 1),
            Effect.sync(() => void known[name]++)
          )
        ),
        () => Effect.sync(() => void known[name]--)
      )
    )

  const reserve: Quotas["Service"]["reserve"] = Effect.fnUntraced(function* (account, bytes) {
    const known = yield* know(account.id)
    const stored = yield* views.storedBytes(account.view)
    yield* Effect.acquireRelease(
      Effect.suspend(() =>
        Effect.andThen(
          check(account, known, "stored", stored + known.reserved + bytes),
          Effect.sync(() => void (known.reserved += bytes))
        )
      ),
      () => Effect.sync(() => void (known.reserved -= bytes))
    )
  })

  return {
    of: (account) => Effect.map(know(account), ({ quota }) => quota),
    used: Effect.fnUntraced(function* (account) {
      const { builds, connections } = yield* know(account.id)
      return { builds, connections, stored: yield* views.storedBytes(account.view) }
    }),
    set: Effect.fnUntraced(function* (account, name, amount) {
      // Known before it is changed: whoever is just getting to know it would else keep what was.
      const known = yield* know(account)
      yield* amount === undefined ? records.unset(account, name) : records.set(account, name, amount)
      known.quota = quotaOf(yield* records.find(account))
      yield* PubSub.publish(changed, account)
    }),
    changes: PubSub.subscribe(changed),
    take,
    reserve,
    room: Effect.fnUntraced(function* (account) {
      const { quota, reserved } = yield* know(account.id)
      if (quota.stored === null) return null
      return Math.max(0, quota.stored - reserved - (yield* views.storedBytes(account.view)))
    }),
    paces: (account) => know(account)
  } satisfies Quotas["Service"]
})
