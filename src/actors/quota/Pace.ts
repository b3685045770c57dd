/**
 * So many bytes a second, for all who share the pace together.
 *
 * Who has taken more than there was, waits until it has come in: the debt of all together is what each next one waits
 * for, so nobody has to be put in a line. A second's worth may be taken at once after a pause.
 */
import { Clock, Effect } from "effect"

export interface Pace {
  /** Returns once these bytes have been paid for. */
  readonly pay: (bytes: number) => Effect.Effect<void>
}

/** `rate` is asked each time, since it may be changed: bytes a second, null for as many as come. */
export const make = (rate: () => number | null): Pace => {
  let credit = 0
  let at = -Infinity

  const pay = Effect.fnUntraced(function* (bytes: number) {
    const perSecond = rate()
    if (perSecond === null) return
    const now = yield* Clock.currentTimeMillis
    // A quota of nothing would be waited for without an end.
    const perMillisecond = Math.max(perSecond, 1) / 1000
    // A clock that was set back has taken nothing away: hours of it would be waited for.
    credit = Math.min(credit + Math.max(0, now - at) * perMillisecond, perMillisecond * 1000) - bytes
    at = now
    if (credit < 0) yield* Effect.sleep(Math.ceil(-credit / perMillisecond))
  })

  return { pay }
}
