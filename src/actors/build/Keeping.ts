/**
 * What becomes of a wait whose client is gone.
 *
 * | The client | The wait |
 * |---|---|
 * | has left: EOF, a closed channel, a closed connection | ends at once, and with the last one the build |
 * | has left, and asked by `keep-builds-running` | is kept until the build has ended |
 * | is not heard of any more: keep-alives, the network | is kept for `disconnect-grace`, since it may come back |
 * | was cut off by our own end, in order or not | is kept by the record, for the server that comes next |
 *
 * A wait that is kept is the wait it was: its limits count, and it takes the outputs into its account's view. Whoever
 * comes back asks for the same build, finds it by its identity, and hears its log from the first line.
 *
 * A wait is in the record before its client is told of the build, and leaves it with the build's end or with the client.
 * A server that starts asks again for what is left there (`Recovery`), as a client would that has fallen silent since.
 */
import { Clock, Context, Duration, Effect, Exit, FiberSet, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { WaitRepository } from "../../storage/WaitRepository.ts"
import type { Answer, Builds, Request, Waiting } from "./Builds.ts"
import { Ending } from "../Ending.ts"
import { recorded } from "./Recorded.ts"

/** How long a client that has fallen silent may take to come back. */
export const DisconnectGrace = Context.Reference<Duration.Duration>("drover/actors/DisconnectGrace", {
  defaultValue: () => Duration.minutes(10)
})

/** A wait that an earlier server has left in the record. */
export interface Resumed {
  readonly wait: string
  readonly build: string
  /** Milliseconds since the epoch, or infinity; null for the whole of the grace from now. */
  readonly keptUntil: number | null
}

type Submit = Builds["Service"]["submit"]

/** `submit`, whose waits outlive their clients as above. What is kept ends with the scope. */
export const make = Effect.fnUntraced(function* (submit: Submit) {
  const waits = yield* WaitRepository
  const random = yield* SecureRandom.SecureRandom
  const grace = Duration.toMillis(yield* DisconnectGrace)
  const isEnding = yield* Ending
  const kept = yield* FiberSet.make()

  /** Until when it is kept for a client that is gone; null if it is not. */
  const keptUntil = ({ departure, resumed, settings }: Request, now: number): number | null => {
    const how = departure?.() ?? "left"
    if (resumed !== undefined && resumed.keptUntil !== null) return resumed.keptUntil
    if (settings.keepBuildsRunning) return Infinity
    return how === "silent" && grace > 0 ? now + grace : null
  }

  const keep = (wait: string, { answer }: Waiting, inner: Scope.Closeable, until: number, now: number) => {
    const tooLate = until === Infinity ? Effect.never : Effect.sleep(until - now)
    return Effect.raceFirst(Effect.exit(answer), tooLate).pipe(
      Effect.ensuring(Scope.close(inner, Exit.void)),
      Effect.andThen(recorded(waits.end(wait))),
      FiberSet.run(kept)
    )
  }

  const leave = Effect.fnUntraced(function* (
    wait: string,
    request: Request,
    waiting: Waiting,
    inner: Scope.Closeable,
    answer: Answer | null
  ) {
    if (isEnding() && answer === null && (request.departure?.() ?? null) === null) {
      return yield* Scope.close(inner, Exit.void)
    }
    const now = yield* Clock.currentTimeMillis
    const until = answer === null ? keptUntil(request, now) : null
    if (until !== null && until > now) {
      yield* keep(wait, waiting, inner, until, now)
      return yield* recorded(waits.keep(wait, until))
    }
    yield* Scope.close(inner, Exit.void)
    // An end takes its waits out of the record by itself; a limit of its own ends the wait and not the build.
    const isOver = answer !== null && answer.status !== "TimedOut" && answer.status !== "LogLimitExceeded"
    if (!isOver) yield* recorded(waits.end(wait))
  })

  return (request: Request): ReturnType<Submit> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const inner = yield* Scope.make()
        const close = Scope.close(inner, Exit.void)
        const waiting = yield* restore(Scope.provide(submit(request), inner)).pipe(
          Effect.onExit((exit) => (Exit.isSuccess(exit) ? Effect.void : close))
        )
        const { build } = waiting
        if (build === null) {
          yield* Effect.addFinalizer(() => close)
          return waiting
        }
        const { account, derivation, limits, resumed, settings } = request
        const wait = resumed?.wait ?? (yield* random.uuidV7())
        let answer: Answer | null = null
        yield* Effect.addFinalizer(() => Effect.suspend(() => leave(wait, request, waiting, inner, answer)))
        yield* restore(recorded(waits.begin({ id: wait, build, account, derivation, limits, settings })))
        return {
          ...waiting,
          answer: Effect.tap(waiting.answer, (given) =>
            Effect.sync(() => {
              answer = given
            })
          )
        }
      })
    )
})
