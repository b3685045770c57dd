/**
 * The journal of a running server: events go to the database in batches, behind the backs of those who write them.
 *
 * A batch is gathered for a moment, or until somebody has to know that it is written. It is not waited for by the disk;
 * a commit that anything else makes brings it there, and once in a while one of the journal's own does. Until then its
 * events are kept here, too: a database that crashes forgets what it has not synced, and is told again.
 *
 * A server that is killed takes the last moment's events with it, and the next one's first event says so.
 */
import { Clock, Deferred, Effect, Layer, Queue, Schedule } from "effect"
import type { Event, Recorded } from "../domain/Event.ts"
import { EventRepository } from "./EventRepository.ts"
import { Journal } from "./Journal.ts"
import { Tenure } from "./Tenure.ts"

/** A batch is gathered for so long, if nobody asks for it sooner. */
const gathering = "100 millis"

/** Milliseconds between the commits of its own: what a crash of the database can make it tell again. */
const syncMilliseconds = 500

/** Events of one statement; the rest are the next. */
const batchMax = 5000

/**
 * Events that wait while the database cannot be had. Builds wait for it too and make few; more are those of a service
 * that goes wrong, and would take its memory. What is left out shows as a gap.
 */
const waitingMax = 200_000

/** Kept at most, and for so long: some weeks of a busy service. */
const keptMax = 1_000_000
const keptMilliseconds = 30 * 24 * 3600 * 1000

/** What one look at the beginning may cut off: it is read and judged at once. */
const prunedMax = 5000

export const layer = Layer.effect(
  Journal,
  Effect.gen(function* () {
    const repository = yield* EventRepository
    const { run } = yield* Tenure
    const wanted = yield* Queue.sliding<void>(1)

    let ordinal = 0
    /** Not in the database yet. */
    let waiting: Array<Recorded> = []
    /** In the database, and perhaps not on its disk. */
    let unsure: Array<Recorded> = []
    let asking: Array<{ readonly ordinal: number; readonly done: Deferred.Deferred<void> }> = []
    let syncedAt = 0

    const append = (event: Event) =>
      Effect.map(Clock.currentTimeMillis, (at) => {
        ordinal++
        if (waiting.length < waitingMax) waiting.push({ run, ordinal, at, event })
      })

    const written = Effect.suspend(() => {
      if (waiting.length === 0) return Effect.void
      const done = Deferred.makeUnsafe<void>()
      asking.push({ ordinal, done })
      return Effect.andThen(Queue.offer(wanted, undefined), Deferred.await(done))
    })

    const put = (events: ReadonlyArray<Recorded>, isSynced: boolean) =>
      repository.add(events, { isSynced }).pipe(
        // A lost connection may be all that is seen of a crash: what it has forgotten goes first.
        Effect.catchTag("StorageError", (error) => Effect.andThen(repository.add(unsure, { isSynced: false }), error)),
        Effect.retry({
          while: ({ isRetryable }) => isRetryable,
          schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])
        })
      )

    const sync = Effect.fnUntraced(function* (now: number) {
      const told = unsure
      // As a rule they are all there, and are not told once more only to bring them to the disk.
      const known = yield* repository
        .sync(run, told[0]!.ordinal, told[told.length - 1]!.ordinal)
        .pipe(Effect.catchTag("StorageError", () => Effect.succeed(0)))
      if (known < told.length) yield* put(told, true)
      unsure = unsure.slice(told.length)
      syncedAt = now
    })

    const write = Effect.gen(function* () {
      while (waiting.length > 0) {
        const batch = waiting.slice(0, batchMax)
        const last = batch[batch.length - 1]!.ordinal
        yield* put(batch, false).pipe(
          Effect.tap(() => Effect.sync(() => void unsure.push(...batch))),
          // They are given up rather than everything after them: the record says that something is missing.
          Effect.catchTag("StorageError", (error) => Effect.logError("events were not recorded", error))
        )
        waiting = waiting.slice(batch.length)
        const known = asking.filter((one) => one.ordinal <= last)
        asking = asking.filter((one) => one.ordinal > last)
        for (const { done } of known) Deferred.doneUnsafe(done, Effect.void)
      }
      const now = yield* Clock.currentTimeMillis
      if (unsure.length > 0 && now - syncedAt >= syncMilliseconds) yield* sync(now)
    })

    const prune = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const options = { limit: prunedMax, before: now - keptMilliseconds, keptMax }
      while (true) {
        const { pruned, violations } = yield* repository.prune(options)
        for (const violation of violations) yield* Effect.logError("an invariant did not hold", violation)
        if (pruned < prunedMax) return
      }
    }).pipe(Effect.catchCause((cause) => Effect.logWarning("the record of events was not shortened", cause)))

    yield* append({ _tag: "ServerStarted" })
    yield* Queue.take(wanted).pipe(
      Effect.timeoutOrElse({ duration: gathering, orElse: () => Effect.void }),
      Effect.andThen(write),
      Effect.catchTag("StorageError", (error) => Effect.logError("events may not be on disk", error)),
      Effect.forever,
      Effect.forkScoped
    )
    yield* Effect.forkScoped(Effect.repeat(prune, Schedule.spaced("10 minutes")))
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        append({ _tag: "ServerStopped" }),
        Effect.suspend(() => repository.add([...unsure, ...waiting], { isSynced: true }))
      ).pipe(Effect.catchCause((cause) => Effect.logWarning("the last events were not recorded", cause)))
    )
    return { append, written }
  })
)
