import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { AccountId } from "../../src/domain/Account.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import type { Event, Recorded } from "../../src/domain/Event.ts"
import { LeaseId } from "../../src/domain/Lease.ts"
import { EventRepository } from "../../src/storage/EventRepository.ts"
import { nextTenure, TestDatabase } from "../support/postgres.ts"

const Events = EventRepository.layer.pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const uuid = (digit: number) => `00000000-0000-7000-8000-${String(digit).padStart(12, "0")}`
const account = AccountId.make(uuid(1))
const lease = LeaseId.make(uuid(2))
const identity = BuildId.make("ab".repeat(32))

const numbered = (run: number, events: ReadonlyArray<Event>): ReadonlyArray<Recorded> =>
  events.map((event, index) => ({ run, ordinal: index + 1, at: 1000 + index, event }))

/** A record that breaks no rule, with something open at its end. */
const history: ReadonlyArray<Event> = [
  { _tag: "ServerStarted" },
  { _tag: "BuildQueued", build: uuid(3), identity, account },
  { _tag: "WaiterCame", waiter: uuid(4), build: uuid(3), identity, account },
  { _tag: "LeaseRequested", lease, account, system: "x86_64-linux", features: [], cores: 1, memoryBytes: 1 },
  { _tag: "LeaseReturned", lease },
  { _tag: "BuildEnded", build: uuid(3), state: "cancelled", attempt: null }
]

const unsynced = { isSynced: false }

layer(Events)("the record of events", (it) => {
  it.effect("is read in its order, whatever the order in which it was written, and each event once", () =>
    Effect.gen(function* () {
      const repository = yield* EventRepository
      const { run } = yield* nextTenure
      const events = numbered(run, history)

      yield* repository.add(events.slice(3), unsynced)
      yield* repository.add(events, unsynced)

      const all = yield* repository.after({ run, ordinal: 0 }, 100)
      assert.deepStrictEqual(all, events)
      assert.deepStrictEqual(yield* repository.after({ run, ordinal: 4 }, 1), events.slice(4, 5))
      assert.isAbove((yield* nextTenure).run, run)
    })
  )

  it.effect.each([
    { how: "told again", again: true },
    { how: "counted", again: false }
  ])("is on disk once it was told before and is $how", ({ again }) =>
    Effect.gen(function* () {
      const repository = yield* EventRepository
      const sql = yield* SqlClient.SqlClient
      const { run } = yield* nextTenure
      const events = numbered(run, history)
      yield* repository.add(events, unsynced)
      const [written] = yield* sql<{ readonly place: string }>`select pg_current_wal_insert_lsn()::text as place`

      if (again) yield* repository.add(events, { isSynced: true })
      else assert.strictEqual(yield* repository.sync(run, 2, events.length + 1), events.length - 1)

      const [flushed] = yield* sql<{ readonly isThere: boolean }>`
        select pg_current_wal_flush_lsn() >= ${written!.place}::pg_lsn as "isThere"`
      assert.isTrue(flushed!.isThere)
    })
  )

  it.effect("is cut off at its beginning as far as it is old, and read on from there", () =>
    Effect.gen(function* () {
      const repository = yield* EventRepository
      yield* repository.prune({ limit: 1000, before: 1e12, keptMax: 0 })
      const { run } = yield* nextTenure
      const events = numbered(run, history)
      yield* repository.add(events, unsynced)

      // Two of them at a time, and all but the last.
      const first = yield* repository.prune({ limit: 2, before: 1005, keptMax: 100 })
      assert.deepStrictEqual(first, { pruned: 2, violations: [] })
      const second = yield* repository.prune({ limit: 100, before: 1005, keptMax: 100 })
      assert.deepStrictEqual(second, { pruned: 3, violations: [] })
      assert.deepStrictEqual(yield* repository.prune({ limit: 100, before: 1005, keptMax: 100 }), {
        pruned: 0,
        violations: []
      })

      const { marker } = yield* repository.beginning
      assert.deepStrictEqual([marker.run, marker.ordinal], [run, 5])
      assert.deepStrictEqual(
        marker.builds.map(([build]) => build),
        [uuid(3)]
      )
      assert.deepStrictEqual(yield* repository.after(marker, 100), events.slice(5))
    })
  )

  it.effect("keeps so many, and what was found wrong in those that it does not keep", () =>
    Effect.gen(function* () {
      const repository = yield* EventRepository
      yield* repository.prune({ limit: 1000, before: 1e12, keptMax: 0 })
      const { run } = yield* nextTenure
      yield* repository.add(
        numbered(run, [...history, { _tag: "LeaseReturned", lease }, { _tag: "ServerStopped" }]),
        unsynced
      )

      const { pruned, violations } = yield* repository.prune({ limit: 100, before: 0, keptMax: 1 })

      assert.strictEqual(pruned, 7)
      assert.deepStrictEqual(
        violations.map(({ ordinal, rule }) => [ordinal, rule]),
        [[7, "lease"]]
      )
      assert.deepStrictEqual((yield* repository.beginning).violations, violations)
    })
  )
})
