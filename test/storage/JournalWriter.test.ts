import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { AccountId } from "../../src/domain/Account.ts"
import type { Event, Recorded } from "../../src/domain/Event.ts"
import { EventRepository } from "../../src/storage/EventRepository.ts"
import { Journal } from "../../src/storage/Journal.ts"
import * as JournalWriter from "../../src/storage/JournalWriter.ts"
import { FileError, StorageError } from "../../src/storage/StorageError.ts"
import { Tenure } from "../../src/storage/Tenure.ts"
import { nextTenure, TestDatabase } from "../support/postgres.ts"

const Events = EventRepository.layer.pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const weigh = (weight: number): Event => ({ _tag: "AccountWeighed", account: AccountId.make("someone"), weight })

/** A journal over the repository, or what is made of it, until the scope closes. */
const journal = (change: (repository: EventRepository["Service"]) => EventRepository["Service"] = (same) => same) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const events = Layer.effect(EventRepository, Effect.map(EventRepository, change))
    const writer = JournalWriter.layer.pipe(Layer.provide(events), Layer.provide(Layer.fresh(Tenure.layer)))
    const services = yield* Layer.buildWithScope(writer, scope)
    const { append, written } = Context.get(services, Journal)
    return { append, written, close: Scope.close(scope, Exit.void) }
  })

const tags = (events: ReadonlyArray<Recorded>) => events.map(({ event }) => event._tag)

/** The newest run's. */
const all = Effect.gen(function* () {
  const repository = yield* EventRepository
  const { run } = yield* nextTenure
  return yield* repository.after({ run: run - 1, ordinal: 0 }, 1000)
})

layer(Events)("a journal", (it) => {
  it.effect("has what was appended in the database once somebody asks, and all of it in the end", () =>
    Effect.gen(function* () {
      const { append, close, written } = yield* journal()
      yield* append(weigh(1))
      yield* append(weigh(2))
      yield* written
      assert.deepStrictEqual(tags(yield* all), ["ServerStarted", "AccountWeighed", "AccountWeighed"])
      yield* written

      const second = yield* journal()
      yield* second.append(weigh(3))
      yield* second.close
      const events = yield* all
      assert.deepStrictEqual(tags(events), ["ServerStarted", "AccountWeighed", "ServerStopped"])
      assert.deepStrictEqual(
        events.map(({ ordinal }) => ordinal),
        [1, 2, 3]
      )
      yield* close
    })
  )

  it.effect("waits for a database that is away, and says again what it had not synced", () =>
    Effect.gen(function* () {
      const added: Array<ReadonlyArray<number>> = []
      let isAway = false
      const { append, close, written } = yield* journal((repository) => ({
        ...repository,
        add: (events, options) =>
          Effect.suspend(() => {
            if (isAway) {
              isAway = false
              const cause = new FileError({ path: "", code: "EAGAIN", detail: "away" })
              return Effect.fail(new StorageError({ operation: "recording events", cause }))
            }
            added.push(events.map(({ ordinal }) => ordinal))
            return repository.add(events, options)
          })
      }))
      yield* append(weigh(1))
      yield* written
      isAway = true
      yield* append(weigh(2))
      const asked = yield* Effect.forkChild(written, { startImmediately: true })
      // The database answers in its own time, so the clock goes on for as long as it takes.
      const passing = Effect.andThen(
        TestClock.adjust("100 millis"),
        Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      )
      yield* Effect.raceFirst(Fiber.join(asked), Effect.forever(passing))

      // What was there before goes first, since the database may have forgotten it.
      assert.deepStrictEqual(added.slice(0, 3), [[1, 2], [1, 2], [3]])
      yield* close
    })
  )

  it.effect.each([
    { what: "tells once", forgets: false, times: 1 },
    { what: "tells again, where the database has forgotten it,", forgets: true, times: 2 }
  ])("$what what it brings to the disk", ({ forgets, times }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const added: Array<number> = []
      const counted = yield* Deferred.make<void>()
      const { append, close, written } = yield* journal((repository) => ({
        ...repository,
        add: (events, options) => {
          added.push(...events.map(({ ordinal }) => ordinal))
          return repository.add(events, options)
        },
        sync: Effect.fnUntraced(function* (run, from, to) {
          const isFirst = to >= 2 && (yield* Deferred.succeed(counted, void 0))
          if (isFirst && forgets) yield* Effect.orDie(sql`delete from event where run = ${run} and ordinal = 2`)
          return yield* repository.sync(run, from, to)
        })
      }))
      yield* append(weigh(1))
      yield* written
      yield* TestClock.adjust("1 second")
      yield* append(weigh(2))
      yield* written
      yield* Deferred.await(counted)
      yield* append(weigh(3))
      yield* written

      assert.lengthOf(
        added.filter((ordinal) => ordinal === 2),
        times
      )
      yield* close
    })
  )
})
