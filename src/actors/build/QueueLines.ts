/**
 * What a waiter hears while the build waits for its lease: where it stands, and for what.
 *
 * Nothing is said of a wait that is soon over. From then on a line is said when something has changed, ever more
 * seldom: a log is no place for a clock, and one line is enough to know that the service is alive.
 */
import { Clock, Effect, Stream } from "effect"
import { type Standing, words } from "../scheduler/Standing.ts"
import type { Heard } from "./Builds.ts"

/** A wait that is over by then is not spoken of, in milliseconds. */
const silentMax = 2_000

/** Between the first two lines, and between any two, in milliseconds. */
const gapMin = 15_000
const gapMax = 5 * 60_000

/** `standing`: null while it does not wait. */
export const over = (standing: Stream.Stream<Standing | null>): Stream.Stream<Heard> =>
  Stream.suspend(() => {
    let said = ""
    let next = 0
    let gap = gapMin

    const say = Effect.fnUntraced(function* (standing: Standing) {
      const due = Math.max(next, standing.since + silentMax) - (yield* Clock.currentTimeMillis)
      if (due > 0) yield* Effect.sleep(due)
      said = lineOf(standing)
      next = (yield* Clock.currentTimeMillis) + gap
      gap = Math.min(2 * gap, gapMax)
      return { _tag: "Service", line: said } as const
    })

    // What is about to be said is forgotten when there is something newer to say.
    return Stream.switchMap(standing, (standing): Stream.Stream<Heard> =>
      standing === null || lineOf(standing) === said ? Stream.empty : Stream.fromEffect(say(standing))
    )
  })

const lineOf = (standing: Standing): string => `drover: waiting ${words(standing)}`
