/**
 * What the store holds, what is left of the disk, and what PostgreSQL is held up by.
 *
 * The question that is asked of the database every few seconds is also its probe: how long it takes to be answered is
 * what any other statement would have had to wait.
 */
import { Clock, Effect, Layer, Metric } from "effect"
import { SqlClient } from "effect/sql"
import * as fs from "node:fs/promises"
import * as Attributes from "../telemetry/Attributes.ts"
import * as Metrics from "../telemetry/Metrics.ts"
import * as Sampling from "../telemetry/Sampling.ts"

/** Ours are the sessions of this name in this database; PostgreSQL names what they wait for in some ten words. */
const sessions = (sql: SqlClient.SqlClient) => sql<{ readonly state: string; readonly count: number }>`
  select
    case
      when state like 'idle%' then 'idle'
      when wait_event_type is null then 'running'
      else lower(wait_event_type)
    end as state,
    count(*)::int as count
  from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
  group by 1`

const database = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const clock = yield* Clock.Clock
  const look = Effect.gen(function* () {
    const askedAt = clock.currentTimeNanosUnsafe()
    const rows = yield* sessions(sql)
    yield* Metric.update(Metrics.databaseProbe, Number(clock.currentTimeNanosUnsafe() - askedAt) / 1e9)
    const values = rows.map(({ count, state }) => [count, { [Attributes.databaseState]: state }] as const)
    return [{ gauge: Metrics.databaseSessions, values }]
  })
  return Sampling.layer("5 seconds", look)
})

/** Walks a table of a row for each content, so it is not asked often. */
const store = (dataDirectory: string) =>
  Effect.map(SqlClient.SqlClient, (sql) =>
    Sampling.layer(
      "1 minute",
      Effect.gen(function* () {
        const [held] = yield* sql<{ readonly count: number; readonly bytes: number }>`
          select count(*)::float8 as count, coalesce(sum(size), 0)::float8 as bytes from nar`
        const { bavail, blocks, bsize } = yield* Effect.promise(() => fs.statfs(dataDirectory))
        return [
          { gauge: Metrics.storedNars, values: [[held?.count ?? 0]] },
          { gauge: Metrics.storedBytes, values: [[held?.bytes ?? 0]] },
          { gauge: Metrics.dataLimit, values: [[blocks * bsize]] },
          { gauge: Metrics.dataAvailable, values: [[bavail * bsize]] }
        ] as const
      })
    )
  )

export const layer = (dataDirectory: string): Layer.Layer<never, never, SqlClient.SqlClient> =>
  Layer.mergeAll(Layer.unwrap(database), Layer.unwrap(store(dataDirectory)))
