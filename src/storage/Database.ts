/**
 * The database as repositories see it: a pool of connections to one that has every table they expect.
 *
 * Tables are brought up to date at start, all steps or none. A database that a newer Drover has already brought
 * further is refused: an older one would break what it does not know of.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import accounts from "./migrations/0001_accounts.ts"
import store from "./migrations/0002_store.ts"
import builds from "./migrations/0003_builds.ts"
import readLog from "./migrations/0004_read_log.ts"
import events from "./migrations/0005_events.ts"
import reuse from "./migrations/0006_reuse.ts"
import waits from "./migrations/0007_waits.ts"
import history from "./migrations/0008_history.ts"
import quotas from "./migrations/0009_quotas.ts"
import share from "./migrations/0010_share.ts"
import tenure from "./migrations/0011_tenure.ts"
import { Postgres } from "./Postgres.ts"
import { DatabaseUnavailable, fromSql, StorageError } from "./StorageError.ts"

/** More would wait for the same disk; the server itself allows 40. */
const connectionsMax = 16

/** In order; one that has been released is never edited again. */
const migrations = {
  "0001_accounts": accounts,
  "0002_store": store,
  "0003_builds": builds,
  "0004_read_log": readLog,
  "0005_events": events,
  "0006_reuse": reuse,
  "0007_waits": waits,
  "0008_history": history,
  "0009_quotas": quotas,
  "0010_share": share,
  "0011_tenure": tenure
}

/** The driver's own bound of 16 MiB is less than the listing of the largest NAR there may be. */
const messageBytesMax = 256 * 1024 * 1024

const operation = "bringing the database up to date"
const table = "migration"

const refuse = (detail: string) => new StorageError({ operation, cause: new DatabaseUnavailable({ detail }) })

/** Fails on a database that knows a step that this program does not. */
const checkVersion = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const isNew = yield* sql`select 1 where to_regclass(${table}) is null`
  if (isNew.length > 0) return
  const known = Object.keys(migrations).length
  const newer = yield* sql<{ readonly name: string }>`
    select migration_id || '_' || name as name from ${sql(table)} where migration_id > ${known}
    order by migration_id desc limit 1`
  const newest = newer[0]?.name
  if (newest !== undefined) {
    return yield* refuse(
      `expected at most step ${known}, found ${newest}: made by a newer Drover, which this one cannot read`
    )
  }
})

const migrate = Effect.andThen(
  checkVersion,
  Migrator.make({})({ loader: Migrator.fromRecord(migrations), table })
).pipe(
  Effect.catchTags({
    SqlError: fromSql(operation).SqlError,
    // Its cause is the database's own error, or a defect of the step itself: neither goes away by asking again.
    MigrationError: (error) => Effect.fail(refuse(`${error.message}: ${String(error.cause)}`))
  }),
  Effect.withSpan("Database.migrate")
)

const pool = Layer.unwrap(
  Effect.map(Postgres, ({ connection }) =>
    PgClient.layer({
      ...connection,
      applicationName: "drover",
      maxConnections: connectionsMax,
      maxMessageSize: messageBytesMax
    })
  )
)

/** Connected, and with every table in place. */
export const layer: Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, StorageError, Postgres> = Layer.effectDiscard(
  migrate
).pipe(
  Layer.provideMerge(pool),
  Layer.catchTag("SqlError", (cause) => Layer.effectContext(Effect.fail(new StorageError({ operation, cause }))))
)
