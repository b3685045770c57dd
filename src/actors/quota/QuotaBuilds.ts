/**
 * Builds within an account's quota: how many at a time, with how long a log, and none that could not be kept.
 *
 * A build's outputs are not refused when it ends, since they were paid for with its time: what an account stores can
 * exceed its quota by the outputs of the builds that run at that moment, and the next build is refused.
 */
import { Effect, Layer, Result } from "effect"
import type { QuotaReached } from "../../domain/Quota.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { Builds } from "../build/Builds.ts"
import { recorded } from "../build/Recorded.ts"
import { Refused } from "../build/Refused.ts"
import { Quotas } from "./Quotas.ts"

const smaller = (one: number | null, other: number | null): number | null =>
  one === null ? other : other === null ? one : Math.min(one, other)

/** A quota that is reached is told at once; while the store cannot answer for the moment, whoever comes waits for it. */
const patiently = <A, R>(asked: Effect.Effect<A, QuotaReached | StorageError, R>): Effect.Effect<A, QuotaReached, R> =>
  asked.pipe(
    Effect.map(Result.succeed),
    Effect.catchTag("QuotaReached", (reached) => Effect.succeed(Result.fail(reached))),
    recorded,
    Effect.flatMap(Effect.fromResult)
  )

/** Stands before the builds that are given to it. */
export const layer = Layer.effect(
  Builds,
  Effect.gen(function* () {
    const builds = yield* Builds
    const quotas = yield* Quotas

    const submit: Builds["Service"]["submit"] = Effect.fnUntraced(function* (request) {
      const { account, derivationPath, limits, resumed } = request
      const within = <A, R>(asked: Effect.Effect<A, QuotaReached | StorageError, R>) =>
        Effect.mapError(
          patiently(asked),
          ({ message }) =>
            new Refused({
              status: "TransientFailure",
              detail: `cannot build '/nix/store/${derivationPath}': ${message}`
            })
        )
      // Known from here on: the scheduler's turnstile holds back nobody of whom it can find out nothing.
      const { log } = yield* within(quotas.of(account.id))
      // What is handed on was within its quota when its client asked, who is not there to ask again.
      if (resumed === undefined) {
        yield* within(quotas.take(account, "builds"))
        // Asked for, not kept: outputs are counted when they are stored.
        yield* within(Effect.scoped(quotas.reserve(account, 0)))
      }
      return yield* builds.submit({ ...request, limits: { ...limits, logBytesMax: smaller(limits.logBytesMax, log) } })
    })

    return { ...builds, submit }
  })
)
