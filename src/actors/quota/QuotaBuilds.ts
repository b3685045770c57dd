/**
 * Builds within an account's quota: how many at a time, with how long a log, and none that could not be kept.
 *
 * A build's outputs are not refused when it ends, since they were paid for with its time: what an account stores can
 * exceed its quota by the outputs of the builds that run at that moment, and the next build is refused.
 */
import { Effect, Layer } from "effect"
import type { QuotaReached } from "../../domain/Quota.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { Builds } from "../build/Builds.ts"
import { Refused } from "../build/Refused.ts"
import { Quotas } from "./Quotas.ts"

const smaller = (one: number | null, other: number | null): number | null =>
  one === null ? other : other === null ? one : Math.min(one, other)

/** Stands before the builds that are given to it. */
export const layer = Layer.effect(
  Builds,
  Effect.gen(function* () {
    const builds = yield* Builds
    const quotas = yield* Quotas

    const submit: Builds["Service"]["submit"] = Effect.fnUntraced(function* (request) {
      const { account, derivationPath, limits } = request
      const refused = (error: QuotaReached | StorageError) =>
        new Refused({
          status: "TransientFailure",
          detail: `cannot build '/nix/store/${derivationPath}': ${error.message}`
        })
      yield* Effect.mapError(quotas.take(account, "builds"), refused)
      // Asked for, not kept: outputs are counted when they are stored.
      yield* Effect.mapError(Effect.scoped(quotas.reserve(account, 0)), refused)
      const { log } = yield* Effect.mapError(quotas.of(account.id), refused)
      return yield* builds.submit({ ...request, limits: { ...limits, logBytesMax: smaller(limits.logBytesMax, log) } })
    })

    return { ...builds, submit }
  })
)
