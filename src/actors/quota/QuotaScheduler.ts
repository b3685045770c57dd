/**
 * Leases within an account's quota of running builds: one that would be too many is held back, and asked for once
 * another of the account's is given back.
 *
 * The scheduler does not know of it meanwhile, so it neither takes a place among the others nor has a host kept free.
 * What is held back comes in the order in which it was asked for. What an account's share is measured by stands among
 * its quotas, too, and the scheduler is told of it here.
 */
import { Clock, Deferred, Effect, Layer, PubSub, type Scope, Stream } from "effect"
import type { AccountId } from "../../domain/Account.ts"
import type { Need } from "../../domain/Need.ts"
import { type Asked, Scheduler } from "../scheduler/Scheduler.ts"
import type { Standing } from "../scheduler/Standing.ts"
import { Quotas } from "./Quotas.ts"

/** What an account runs, or waits for with the scheduler, and what of it is held back. */
interface Turnstile {
  running: number
  /** In the order in which they came. */
  readonly held: Set<Deferred.Deferred<void>>
}

/** Stands before the scheduler that is given to it. */
export const layer = Layer.effect(
  Scheduler,
  Effect.gen(function* () {
    const scheduler = yield* Scheduler
    const quotas = yield* Quotas
    const turnstiles = new Map<AccountId, Turnstile>()

    const turnstileOf = (account: AccountId): Turnstile => {
      const turnstile = turnstiles.get(account) ?? { running: 0, held: new Set() }
      turnstiles.set(account, turnstile)
      return turnstile
    }

    // Quotas that cannot be looked up hold nobody back: the scheduler shares what there is all the same.
    const maxOf = (account: AccountId) =>
      Effect.match(quotas.of(account), {
        onSuccess: ({ running }) => running ?? Infinity,
        onFailure: () => Infinity
      })

    /** What the scheduler was told, of those of whom it was told anything. */
    const shares = new Map<AccountId, number>()
    const weigh = (account: AccountId) =>
      Effect.flatMap(quotas.of(account), ({ share }) => {
        // Whoever has no part has none where nobody else wants it, either: that is what `running` is for.
        const weight = Math.max(1, share ?? 1)
        if (weight === (shares.get(account) ?? 1)) return Effect.void
        shares.set(account, weight)
        return scheduler.tell({ _tag: "Weighed", account, weight })
      }).pipe(Effect.catch(() => Effect.void))

    const admit = (account: AccountId, turnstile: Turnstile) =>
      Effect.map(maxOf(account), (max) => {
        for (const next of turnstile.held) {
          if (turnstile.running >= max) return
          turnstile.held.delete(next)
          turnstile.running++
          Deferred.doneUnsafe(next, Effect.void)
        }
        const isIdle = turnstile.running === 0 && turnstile.held.size === 0
        // Somebody else may have found it idle before, and another may stand in its place by now.
        if (isIdle && turnstiles.get(account) === turnstile) turnstiles.delete(account)
      })

    const changes = yield* quotas.changes
    yield* PubSub.take(changes).pipe(
      Effect.flatMap((account) => {
        const turnstile = turnstiles.get(account)
        return Effect.andThen(weigh(account), turnstile === undefined ? Effect.void : admit(account, turnstile))
      }),
      Effect.forever,
      Effect.forkScoped
    )

    /** Passed once it is one of those that may run; the scope gives its place back. */
    const enter = Effect.fnUntraced(function* (account: AccountId) {
      const turnstile = turnstileOf(account)
      const passed = Deferred.makeUnsafe<void>()
      turnstile.held.add(passed)
      yield* Effect.addFinalizer(() =>
        Effect.suspend(() => {
          if (!turnstile.held.delete(passed)) turnstile.running--
          return admit(account, turnstile)
        })
      )
      yield* admit(account, turnstile)
      return { turnstile, passed }
    })

    const request = Effect.fnUntraced(function* (need: Need): Effect.fn.Return<Asked, never, Scope.Scope> {
      yield* weigh(need.account)
      const { passed, turnstile } = yield* enter(need.account)
      if (Deferred.isDoneUnsafe(passed)) return yield* scheduler.request(need)
      const since = yield* Clock.currentTimeMillis
      const asked = yield* Deferred.make<Asked>()
      yield* Effect.forkScoped(
        Effect.andThen(
          Deferred.await(passed),
          Effect.flatMap(scheduler.request(need), (later) => Deferred.succeed(asked, later))
        )
      )
      const { cores, features, lease, memoryBytes, system } = need
      const standing = Effect.sync((): Standing => ({
        lease,
        before: Math.max(0, [...turnstile.held].indexOf(passed)),
        cores,
        memoryBytes,
        system,
        features,
        reason: "quota",
        kept: null,
        since
      }))
      return {
        granted: Effect.flatMap(Deferred.await(asked), ({ granted }) => granted),
        standing: Stream.concat(
          Stream.fromEffect(standing),
          Stream.unwrap(Effect.map(Deferred.await(asked), (later) => later.standing))
        )
      }
    }, Effect.uninterruptible)

    return {
      ...scheduler,
      request,
      lease: (need) => Effect.flatMap(request(need), ({ granted }) => granted)
    }
  })
)
