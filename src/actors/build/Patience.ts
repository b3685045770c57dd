/**
 * How long one waiter waits: limits are the waiter's own, so who reaches theirs leaves, and the build goes on for those
 * who allow it more.
 *
 * Time counts from the start of the attempt under way, silence from its last word. Waiting in the queue is not the
 * build's doing and counts for nothing. A log counts as long as it is, also one that has ended by then: a client that
 * would have stopped the build for it stops listening to it all the same.
 */
import { Clock, Deferred, Effect, type Scope } from "effect"
import type { Outcome } from "../../domain/Attempt.ts"
import type { FailureStatus } from "../../domain/Failure.ts"
import type { Limits } from "../../domain/Limits.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import type { Progress } from "./Build.ts"

/** Which limit was reached, and what it was. */
export interface Reached {
  readonly limit: "time" | "silence" | "log"
  readonly amount: number
}

/** The longest that a limit goes unnoticed, in milliseconds: what a build writes is only looked at so often. */
const lookMilliseconds = 1000

/** Whether a log is longer than its listener allows. */
export const lookAtLog = ({ logBytesMax }: Limits, logBytes: number): Reached | null =>
  logBytesMax !== null && logBytes > logBytesMax ? { limit: "log", amount: logBytesMax } : null

/** Which limit an attempt has reached by now, or else in how many milliseconds it may. */
export const look = (limits: Limits, progress: Progress, now: number): Reached | number => {
  const { silenceSecondsMax, timeoutSeconds } = limits
  const { heardAt, logBytes, startedAt } = progress
  if (startedAt === null) return lookMilliseconds
  const timeLeft = timeoutSeconds === null ? Infinity : startedAt + timeoutSeconds * 1000 - now
  const silenceLeft = silenceSecondsMax === null ? Infinity : heardAt + silenceSecondsMax * 1000 - now
  if (timeoutSeconds !== null && timeLeft <= 0) return { limit: "time", amount: timeoutSeconds }
  if (silenceSecondsMax !== null && silenceLeft <= 0) return { limit: "silence", amount: silenceSecondsMax }
  return lookAtLog(limits, logBytes) ?? Math.min(timeLeft, silenceLeft, lookMilliseconds)
}

/** Resolves when a limit is reached; never, where there is none. */
export const watch = Effect.fnUntraced(function* (
  limits: Limits,
  progress: Effect.Effect<Progress>
): Effect.fn.Return<Deferred.Deferred<Reached>, never, Scope.Scope> {
  const reached = yield* Deferred.make<Reached>()
  if (Object.values(limits).every((limit) => limit === null)) return reached
  const loop = Effect.gen(function* () {
    while (true) {
      const next = look(limits, yield* progress, yield* Clock.currentTimeMillis)
      if (typeof next !== "number") return yield* Deferred.succeed(reached, next)
      yield* Effect.sleep(next)
    }
  })
  yield* Effect.forkScoped(loop)
  return reached
})

export const outcomeOf = ({ limit }: Reached): Outcome => {
  switch (limit) {
    case "time":
      return "timed-out"
    case "silence":
      return "silent"
    case "log":
      return "failed"
  }
}

/** As Nix says it. */
export const words = (
  { amount, limit }: Reached,
  derivation: StorePath
): { readonly status: FailureStatus; readonly message: string } => {
  const what = `building of '/nix/store/${derivation}'`
  switch (limit) {
    case "time":
      return { status: "TimedOut", message: `${what} timed out after ${amount} seconds` }
    case "silence":
      return { status: "TimedOut", message: `${what} timed out after ${amount} seconds of silence` }
    case "log":
      return {
        status: "LogLimitExceeded",
        message: `${what} killed after writing more than ${amount} bytes of log output`
      }
  }
}
