/**
 * The one owner of retries of what builds, and those who come for them, have to record or look up.
 *
 * A database that was killed is back within seconds, and after a crash of the machine once it has replayed its log; until
 * then nobody is told anything that is not on record. After that it is a defect, and whoever waits is told of that.
 */
import { Effect, Schedule } from "effect"
import type { StorageError } from "../../storage/StorageError.ts"

/** Soon at first, since most of it is over at once; then every other second, for two minutes. */
const again = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])
const timesMax = 64

export const recorded = <A, R>(effect: Effect.Effect<A, StorageError, R>): Effect.Effect<A, never, R> =>
  effect.pipe(Effect.retry({ while: (error) => error.isRetryable, times: timesMax, schedule: again }), Effect.orDie)
