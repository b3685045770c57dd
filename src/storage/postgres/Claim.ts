/**
 * The claim of one Drover on a database: a lock that the database gives up by itself when its holder is gone.
 *
 * Two servers on one database would each take the other's running builds for left-overs of a crash. One that has lost its
 * claim may still go on for a while: what it says then is refused by another means (see `Tenure`).
 */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Queue, Schedule, type Scope } from "effect"
import type { SqlError } from "effect/sql"
import { DatabaseUnavailable, StorageError } from "../StorageError.ts"

export interface Claim {
  /** Resolves once the connection that holds the claim is lost, and the claim with it. */
  readonly lost: Effect.Effect<void>
}

/** A number that nothing else in this database locks: "drover" in ASCII. */
const lock = 0x64726f766572n

/** Held until the scope closes. Waits a little for one whose holder has just been killed. */
export const take = Effect.fn("Claim.take")(function* (
  config: PgConnection.Config
): Effect.fn.Return<Claim, SqlError.SqlError | StorageError, Scope.Scope> {
  const connection = yield* PgConnection.make({ ...config, applicationName: `drover ${process.pid}` })
  const isTaken = yield* connection.queryValues("select pg_try_advisory_lock($1)", [lock]).pipe(
    Effect.map((rows) => rows[0]?.[0] === true),
    Effect.repeat({ until: (taken) => taken, times: 20, schedule: Schedule.spaced("100 millis") })
  )
  if (isTaken) {
    // A listener is told when its connection breaks; nobody ever notifies this channel.
    const notifications = yield* connection.listen("drover_claim")
    return { lost: Effect.ignore(Effect.forever(Queue.take(notifications))) }
  }
  // The database has other locks of the kind, which are no claims (see `Tenure`).
  const holders = yield* connection.queryValues(
    `select application_name from pg_locks join pg_stat_activity using (pid)
    where locktype = 'advisory' and granted and (classid::bigint << 32) | objid::bigint = $1`,
    [lock]
  )
  return yield* new StorageError({
    operation: "claiming the database",
    cause: new DatabaseUnavailable({
      detail: `expected a database that no other server uses, found it in use by ${holders.flat().join(", ") || "another"}`
    })
  })
})
