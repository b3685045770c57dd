/**
 * The time in which the database is one Drover's: each that starts begins the next, and what an earlier one still says
 * about builds is refused.
 *
 * The claim on the database (`postgres/Claim`) lets one server start at a time, but the database gives it up when a
 * connection breaks, and knows nothing of the server behind it. One that was stopped, or cut off, for so long that
 * another has begun would go on where it was, and end attempts that are the other's. So whoever writes about builds,
 * attempts or waits asks within the same transaction whether its tenure is still the last; the database guarantees that
 * none begins between the question and the write.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { fromSql, StorageError, TakenOver } from "./StorageError.ts"

/** Between two looks at whether it is over, for a server that writes nothing. */
const pause = "2 seconds"

/** Writes of an earlier server that are still under way are over by then, or the start fails. */
const patienceMilliseconds = 20_000

export class Tenure extends Context.Service<
  Tenure,
  {
    /** Servers are numbered in the order in which they began. */
    readonly run: number
    /** For the `from` of a statement that writes: an expression that is true, and fails once this is over. */
    readonly holds: Statement.Fragment
    /** Never returns; fails when another server has begun. */
    readonly over: Effect.Effect<never, StorageError>
  }
>()("drover/storage/Tenure") {
  /** Begins the next. */
  static readonly layer = Layer.effect(
    Tenure,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const run = yield* sql`select set_config('lock_timeout', ${`${patienceMilliseconds}`}, true)`.pipe(
        Effect.andThen(sql<{ readonly run: number }>`select begin_tenure() as run`),
        sql.withTransaction,
        Effect.map(([row]) => row!.run),
        Effect.catchTag("SqlError", fromSql("taking the database over").SqlError),
        Effect.withSpan("Tenure.begin")
      )
      const look = sql`select from server_run where run > ${run} limit 1`.pipe(
        // While it cannot be had, nobody has it.
        Effect.catchTag("SqlError", () => Effect.succeed([])),
        Effect.filterOrFail(
          (later) => later.length === 0,
          () => new StorageError({ operation: "holding the database", cause: new TakenOver() })
        )
      )
      const over = Effect.andThen(Effect.repeat(look, Schedule.spaced(pause)), Effect.never)
      return { run, holds: sql`in_tenure(${run}::integer)`, over }
    })
  )
}
