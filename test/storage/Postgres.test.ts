import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Database from "../../src/storage/Database.ts"
import { fromSql } from "../../src/storage/StorageError.ts"
import * as Postmaster from "../../src/storage/postgres/Postmaster.ts"
import { Postgres } from "../../src/storage/Postgres.ts"
import { launch, linkLibraries, temporaryDirectory } from "../support/postgres.ts"

/** Starts a server's database, in a scope that stands for the server's life. */
const start = Effect.fnUntraced(function* (dataDirectory: string, settings: { readonly [name: string]: string } = {}) {
  yield* linkLibraries
  const scope = yield* Scope.fork(yield* Effect.scope)
  const layer = Layer.fresh(Postgres.embedded({ dataDirectory, launch, settings: { fsync: "off", ...settings } }))
  const context = yield* Layer.buildWithScope(Layer.provideMerge(Layer.fresh(Database.layer), layer), scope)
  const sql = yield* Effect.provide(SqlClient.SqlClient, context)
  const { connection } = yield* Effect.provide(Postgres, context)
  return { sql, connection, stop: Scope.close(scope, Exit.void) }
})

const template = fs.mkdtempSync("/tmp/drover-test-template-")
afterAll(() => fs.rmSync(template, { recursive: true, force: true }))

/** A directory that a server has run in before: copied, since making one takes longer than anything else here. */
const used = Effect.gen(function* () {
  if (fs.readdirSync(template).length === 0) yield* Effect.flatMap(start(template), ({ stop }) => stop)
  const directory = yield* temporaryDirectory
  fs.cpSync(template, directory, { recursive: true })
  // Directories are not copied with their modes, and PostgreSQL looks at this one.
  fs.chmodSync(path.join(directory, "postgres"), 0o700)
  return directory
})

const postmaster = (dataDirectory: string) =>
  Effect.map(Postmaster.running(path.join(dataDirectory, "postgres")), (running) => running?.pid ?? null)

const isKeeper = (pid: string, name: string) => {
  try {
    return (
      fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`drover-keeper\0`) &&
      fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(name)
    )
  } catch {
    return false
  }
}
const keepers = (dataDirectory: string) => fs.readdirSync("/proc").filter((pid) => isKeeper(pid, dataDirectory))

describe("Postgres", () => {
  it.live("starts and stops, and keeps what was written", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory

      const first = yield* start(directory)
      yield* first.sql`create table kept as select 'this' as what`
      yield* first.stop
      assert.isNull(yield* postmaster(directory))
      assert.deepStrictEqual(keepers(directory), [])

      const second = yield* start(directory)
      assert.deepStrictEqual(yield* second.sql`select * from kept`, [{ what: "this" }])
      yield* second.stop
      assert.deepStrictEqual(fs.readdirSync(directory).sort(), ["postgres", "postgres.keeper", "postgres.log"])
    }).pipe(Effect.scoped)
  )

  it.live("runs in a directory with a path too long for a socket, and leaves none behind", () =>
    Effect.gen(function* () {
      const directory = path.join(yield* temporaryDirectory, "a directory with a long name".repeat(5))

      const { connection, sql, stop } = yield* start(directory)

      assert.lengthOf(yield* sql`select 1`, 1)
      const socketDirectory = path.dirname(connection.path ?? "")
      assert.strictEqual(fs.statSync(socketDirectory).mode & 0o777, 0o700)
      yield* stop
      assert.isFalse(fs.existsSync(socketDirectory))
    }).pipe(Effect.scoped)
  )

  it.live("refuses a second server on the same data, which leaves the first alone", () =>
    Effect.gen(function* () {
      const directory = yield* used
      const first = yield* start(directory)
      const before = yield* postmaster(directory)

      const error = yield* Effect.flip(start(directory))

      assert.include(error.message, `in use by drover ${process.pid}`)
      assert.strictEqual(yield* postmaster(directory), before)
      assert.lengthOf(yield* first.sql`select 1`, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is started again when it dies, and queries succeed again", () =>
    Effect.gen(function* () {
      const directory = yield* used
      const { sql } = yield* start(directory)
      yield* sql`create table kept as select 'this' as what`
      const before = yield* postmaster(directory)

      process.kill(before ?? 0, "SIGKILL")
      // A process of the old server may still answer, until it notices.
      yield* postmaster(directory).pipe(
        Effect.repeat({ until: (pid) => pid !== null && pid !== before, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("30 seconds")
      )
      const rows = yield* sql`select * from kept`.pipe(
        Effect.catchTag("SqlError", fromSql("reading what is kept").SqlError),
        Effect.retry({ while: (error) => error.isRetryable, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("30 seconds")
      )

      assert.deepStrictEqual(rows, [{ what: "this" }])
    }).pipe(Effect.scoped)
  )

  it.live("begins anew after a crash in the middle of making the directory", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      fs.mkdirSync(path.join(directory, "postgres.new"))
      fs.writeFileSync(path.join(directory, "postgres.new/PG_VERSION"), "18\n")

      const { sql } = yield* start(directory)

      assert.lengthOf(yield* sql`select 1`, 1)
    }).pipe(Effect.scoped)
  )

  it.live("does not take another program for its server", () =>
    Effect.gen(function* () {
      const directory = yield* used
      // The number of a process that died has been given to somebody else: to this test.
      const stale = [process.pid, `${directory}/postgres`, 1, 5432, "/nowhere", "", "1 1", "ready", ""]
      fs.writeFileSync(path.join(directory, "postgres/postmaster.pid"), stale.join("\n"))

      const { sql } = yield* start(directory)

      assert.lengthOf(yield* sql`select 1`, 1)
    }).pipe(Effect.scoped)
  )

  it.live("starts where one that is dead, but not buried, has left the lock of its socket", () =>
    Effect.gen(function* () {
      const directory = yield* used
      fs.mkdirSync(path.join(directory, "postgres.socket"), { mode: 0o777 })
      // As of a dead server whose Drover is stopped, its number is still taken.
      const dead = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sleep", ["1000"], { stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const left = [dead.pid, `${directory}/postgres`, 1, 5432, `${directory}/postgres.socket`, ""]
      fs.writeFileSync(path.join(directory, "postgres.socket/.s.PGSQL.5432.lock"), left.join("\n"))

      const { sql } = yield* start(directory)

      assert.lengthOf(yield* sql`select 1`, 1)
    }).pipe(Effect.scoped)
  )

  it.live("says why the server would not start", () =>
    Effect.gen(function* () {
      const directory = yield* used

      const error = yield* Effect.flip(start(directory, { shared_buffers: "a lot" }))

      assert.include(error.message, 'invalid value for parameter "shared_buffers"')
    }).pipe(Effect.scoped)
  )

  it.live("refuses data of another version of PostgreSQL", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      fs.mkdirSync(path.join(directory, "postgres"))
      fs.writeFileSync(path.join(directory, "postgres/PG_VERSION"), "15\n")

      const error = yield* Effect.flip(start(directory))

      assert.include(error.message, "expected data of PostgreSQL 18, found version 15")
    }).pipe(Effect.scoped)
  )

  it.live("refuses a database that a newer Drover has brought further", () =>
    Effect.gen(function* () {
      const directory = yield* used
      const { sql, stop } = yield* start(directory)
      yield* sql`insert into migration (migration_id, name) values (9000, 'from_the_future')`
      yield* stop

      const error = yield* Effect.flip(start(directory))

      assert.include(error.message, "found 9000_from_the_future")
    }).pipe(Effect.scoped)
  )

  it.live("takes a database that is named instead, and one server at a time", () =>
    Effect.gen(function* () {
      const directory = yield* used
      const { connection, sql } = yield* start(directory)
      yield* sql`create database named`
      const socket = encodeURIComponent(path.dirname(connection.path ?? ""))
      const url = Redacted.make(`postgres://drover@${socket}/named`)
      const Named = Layer.fresh(Layer.provide(Database.layer, Postgres.named(url)))

      yield* Effect.gen(function* () {
        const client = yield* PgClient.PgClient
        assert.deepStrictEqual(yield* client`select current_database() as name`, [{ name: "named" }])
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Named)))
        assert.include(error.message, "in use by drover")
      }).pipe(Effect.provide(Named, { local: true }))
    }).pipe(Effect.scoped)
  )
})
