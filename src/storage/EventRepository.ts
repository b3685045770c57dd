/**
 * The record of events: added to at its end, read in its order, and shortened from its beginning.
 *
 * Each server's tenure is a run, and it numbers its events from one upwards. The database guarantees that a run and a
 * number name one event. What is cut off has been judged, and leaves a marker: what was open at that point, and what had
 * been found wrong until then.
 */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { Recorded, subjectsOf } from "../domain/Event.ts"
import { Checker } from "../domain/Invariants.ts"
import { Marker, origin } from "../domain/Marker.ts"
import { Violation } from "../domain/Violation.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

/** A place in the record. */
export interface Place {
  readonly run: number
  readonly ordinal: number
}

/** Where the record begins, since what came before is cut off. */
export const Beginning = Schema.Struct({ marker: Marker, violations: Schema.Array(Violation) })
export type Beginning = typeof Beginning.Type

/** Violations that a marker keeps of what was cut off: the first tell what began it. */
const violationsMax = 100

export class EventRepository extends Context.Service<
  EventRepository,
  {
    /** Adds those that are not there yet. On disk when it returns, if asked; else with the next commit that is. */
    readonly add: (
      events: ReadonlyArray<Recorded>,
      options: { readonly isSynced: boolean }
    ) => Effect.Effect<void, StorageError>
    /** How many of a run there are from one number to another, both included: on disk, all of them, when it returns. */
    readonly sync: (run: number, from: number, to: number) => Effect.Effect<number, StorageError>
    /** At most so many, from the first after a place. */
    readonly after: (place: Place, limit: number) => Effect.Effect<ReadonlyArray<Recorded>, StorageError>
    readonly beginning: Effect.Effect<Beginning, StorageError>
    /**
     * Judges and cuts off at most so many events from the beginning, as far as they are older than a time, or more
     * than so many come after them. Tells how many went, and what was found wrong in them.
     */
    readonly prune: (options: {
      readonly limit: number
      readonly before: number
      readonly keptMax: number
    }) => Effect.Effect<{ readonly pruned: number; readonly violations: ReadonlyArray<Violation> }, StorageError>
  }
>()("drover/storage/EventRepository") {
  static readonly layer = Layer.effect(
    EventRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      // A commit that has written nothing waits for no disk, also where what was there before is not on it yet.
      const synced = (isSynced: boolean) =>
        isSynced ? sql`pg_logical_emit_message(true, 'drover', '')` : sql`(select) as nothing`

      const add = Effect.fn("EventRepository.add")(
        (events: ReadonlyArray<Recorded>, { isSynced }: { readonly isSynced: boolean }) => {
          const subjects = events.map(({ event }) => subjectsOf(event))
          return sql`
            insert into event (run, ordinal, at, event, build, lease)
            select run, ordinal, to_timestamp(at / 1000), event::jsonb, nullif(build, '')::uuid, nullif(lease, '')::uuid
            from unnest(
              ${events.map(({ run }) => run)}::integer[],
              ${events.map(({ ordinal }) => ordinal)}::bigint[],
              ${events.map(({ at }) => at)}::double precision[],
              ${events.map(({ event }) => JSON.stringify(event))}::text[],
              ${subjects.map(({ build }) => build ?? "")}::text[],
              ${subjects.map(({ lease }) => lease ?? "")}::text[]
            ) as added(run, ordinal, at, event, build, lease),
              (select set_config('synchronous_commit', ${isSynced ? "on" : "off"}, true)) as syncing,
              ${synced(isSynced)}
            on conflict do nothing`
        },
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording events").SqlError)
      )

      const sync = Effect.fn("EventRepository.sync")(
        (run: number, from: number, to: number) => sql<{ readonly count: number }>`
          select count::double precision, set_config('synchronous_commit', 'on', true), ${synced(true)}::text
          from (select count(*) from event
            where run = ${run}::integer and ordinal between ${from}::bigint and ${to}::bigint) as known`,
        Effect.map(([row]) => row?.count ?? 0),
        Effect.catchTag("SqlError", fromSql("bringing events to the disk").SqlError)
      )

      const selectAfter = SqlSchema.findAll({
        Request: Schema.Struct({ run: Schema.Int, ordinal: Schema.Int, limit: Schema.Int }),
        Result: Recorded,
        execute: ({ limit, ordinal, run }) => sql`
          select run, ordinal::double precision as ordinal,
            floor(extract(epoch from at) * 1000)::double precision as at, event
          from event where (run, ordinal) > (${run}::integer, ${ordinal}::bigint)
          order by run, ordinal limit ${limit}`
      })
      const after = Effect.fn("EventRepository.after")(
        (place: Place, limit: number) => selectAfter({ ...place, limit }),
        Effect.catchTags(fromSql("reading events"))
      )

      const selectBeginning = SqlSchema.findOneOption({
        Request: Schema.Void,
        Result: Beginning,
        execute: () => sql`select marker, violations from event_beginning`
      })
      const beginning = selectBeginning(undefined).pipe(
        Effect.map(Option.getOrElse((): Beginning => ({ marker: origin, violations: [] }))),
        Effect.catchTags(fromSql("reading where the record begins")),
        Effect.withSpan("EventRepository.beginning")
      )

      /** How many may go: those that are old, or beyond what is kept. */
      const countOfOld = SqlSchema.findOne({
        Request: Schema.Struct({ before: Schema.Finite, keptMax: Schema.Int }),
        Result: Schema.Struct({ count: Schema.Int }),
        execute: ({ before, keptMax }) => sql`
          select greatest(
            count(*) filter (where at < to_timestamp(${before}::double precision / 1000)),
            count(*) - ${keptMax}
          )::integer as count from event`
      })

      const prune = Effect.fn("EventRepository.prune")(
        function* (options: { readonly limit: number; readonly before: number; readonly keptMax: number }) {
          const { count } = yield* countOfOld(options)
          if (count <= 0) return { pruned: 0, violations: [] }
          const from = yield* beginning
          const events = yield* after(from.marker, Math.min(count, options.limit))
          const checker = new Checker(from.marker)
          const violations = events.flatMap((event) => checker.read(event))
          const { marker } = checker
          const kept = [...from.violations, ...violations].slice(0, violationsMax)
          yield* sql`
            insert into event_beginning (marker, violations)
            values (${JSON.stringify(marker)}::text::jsonb, ${JSON.stringify(kept)}::text::jsonb)
            on conflict (alone) do update set marker = excluded.marker, violations = excluded.violations`
          yield* sql`
            delete from event where (run, ordinal) <= (${marker.run}::integer, ${marker.ordinal}::bigint)`
          return { pruned: events.length, violations }
        },
        sql.withTransaction,
        Effect.catchTags({ ...fromSql("shortening the record of events"), NoSuchElementError: Effect.die })
      )

      return { add, sync, after, beginning, prune }
    })
  )
}
