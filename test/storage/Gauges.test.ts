/** What is told of the store and the database, by a database that has something in it. */
import { assert, it } from "@effect/vitest"
import { NodeFileSystem } from "@effect/platform-node"
import { Deferred, Effect, Fiber, FileSystem, Layer, Metric } from "effect"
import { SqlClient } from "effect/sql"
import * as Gauges from "../../src/storage/Gauges.ts"
import * as Attributes from "../../src/telemetry/Attributes.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"
import { TestDatabase } from "../support/postgres.ts"

const valueOf = (gauge: Metric.Gauge<number>) => Effect.map(Metric.value(gauge), ({ value }) => value)

/** Looks again until it is so: when a gauge is read is nobody's to say. */
const until = Effect.fnUntraced(function* <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean) {
  while (true) {
    const value = yield* look
    if (holds(value)) return value
    yield* Effect.sleep("10 millis")
  }
})

it.layer(Layer.merge(TestDatabase, NodeFileSystem.layer), { timeout: "60 seconds", excludeTestServices: true })(
  "gauges of the store",
  (it) => {
    it.effect("tell what it holds, what is left, and how soon the database answers", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const files = yield* FileSystem.FileSystem
        const directory = yield* files.makeTempDirectoryScoped({ prefix: "drover-test-" })
        for (const [digit, size] of [
          ["a", 5],
          ["b", 7_000_000_000]
        ] as const) {
          yield* sql`insert into nar (hash, size, listing) values (decode(${digit.repeat(64)}, 'hex'), ${size}, '')`
        }

        yield* Layer.build(Gauges.layer(directory))

        yield* until(valueOf(Metrics.storedNars), (count) => count === 2)
        yield* until(valueOf(Metrics.storedBytes), (bytes) => bytes === 7_000_000_005)
        const limit = yield* until(valueOf(Metrics.dataLimit), (bytes) => bytes > 0)
        const available = yield* until(valueOf(Metrics.dataAvailable), (bytes) => bytes > 0)
        assert.isAtMost(available, limit)
        const probes = yield* until(Metric.value(Metrics.databaseProbe), ({ count }) => count > 0)
        assert.isBelow(probes.max, 60)
      }).pipe(Effect.scoped)
    )

    it.effect("tell which session waits for a lock", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const locked = Metrics.of(Metrics.databaseSessions, { [Attributes.databaseState]: "lock" })
        const lock = sql`select pg_advisory_xact_lock(4711)`
        const held = yield* Deferred.make<void>()

        const holder = yield* sql
          .withTransaction(Effect.andThen(lock, Effect.andThen(Deferred.succeed(held, void 0), Effect.never)))
          .pipe(Effect.forkScoped)
        yield* Deferred.await(held)
        yield* Effect.forkScoped(sql.withTransaction(lock))
        yield* until(sql`select 1 from pg_stat_activity where wait_event_type = 'Lock'`, (rows) => rows.length === 1)
        yield* Layer.build(Gauges.layer("/"))
        yield* until(valueOf(locked), (count) => count === 1)
        yield* Fiber.interrupt(holder)
      }).pipe(Effect.scoped)
    )
  }
)
