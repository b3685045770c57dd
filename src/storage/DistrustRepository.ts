/**
 * Taking results back: of a host, an epoch or a backend that turned out to be wrong.
 *
 * What is taken back answers nobody any more. It stays where it is, in the record and in the views that have it, since
 * it may have been passed on from there: what has to go, the operator decides who reads the list.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { Backend, Outcome } from "../domain/Attempt.ts"
import { storeDir } from "../protocol/nix/StorePath.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

/** All that is said must hold. Of an epoch, a host or a backend at least one is said. */
export const Distrusted = Schema.Struct({
  host: Schema.NullOr(Schema.String),
  epoch: Schema.NullOr(Schema.Int),
  backend: Schema.NullOr(Backend),
  /** Attempts that began before: milliseconds since the epoch. */
  before: Schema.NullOr(Schema.Int)
})
export type Distrusted = typeof Distrusted.Type

const Result = Schema.Struct({
  build: Schema.String,
  derivation: Schema.String,
  outcome: Outcome,
  host: Schema.String,
  backend: Backend,
  epoch: Schema.Int,
  startedAt: Schema.String,
  /** Who waited for it, and who was answered by it since. */
  accounts: Schema.Array(Schema.String)
})

const Holder = Schema.Struct({ account: Schema.String, path: Schema.String, build: Schema.String })

export const TakenBack = Schema.Struct({
  /** Attempts that were taken back, and how many of them still run: their builds will answer whoever waits for them. */
  attempts: Schema.Int,
  running: Schema.Int,
  /** Builds whose result is that of such an attempt, the newest first, as far as they are named. */
  resultCount: Schema.Int,
  results: Schema.Array(Result),
  /** Where what they made is seen now. */
  holderCount: Schema.Int,
  holders: Schema.Array(Holder)
})
export type TakenBack = typeof TakenBack.Type

/** Lines of each kind that are handed out: more than somebody reads. */
const linesMax = 1000

export class DistrustRepository extends Context.Service<
  DistrustRepository,
  {
    /** Asked for again, it finds what it has taken back before, too. */
    readonly takeBack: (distrusted: Distrusted) => Effect.Effect<TakenBack, StorageError>
  }
>()("drover/storage/DistrustRepository") {
  static readonly layer = Layer.effect(
    DistrustRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const matches = ({ backend, before, epoch, host }: Distrusted) => sql`
        (${host}::text is null or attempt.host = ${host}::text)
        and (${epoch}::integer is null or attempt.epoch = ${epoch}::integer)
        and (${backend}::text is null or attempt.sandbox = ${backend}::text)
        and (${before}::float8 is null or attempt.started_at < to_timestamp(${before}::float8 / 1000))`

      const selectCounts = SqlSchema.findAll({
        Request: Distrusted,
        Result: Schema.Struct({
          attempts: Schema.Int,
          running: Schema.Int,
          resultCount: Schema.Int,
          holderCount: Schema.Int
        }),
        execute: (distrusted) => sql`
          select count(*)::float8 as attempts, count(*) filter (where attempt.ended_at is null)::float8 as running,
            count(*) filter (where build.current_attempt = attempt.id and build.ended_at is not null)::float8
              as "resultCount",
            (select count(*)::float8 from (${holders(distrusted)}) as holder) as "holderCount"
          from attempt join build on build.id = attempt.build where ${matches(distrusted)}`
      })

      const selectResults = SqlSchema.findAll({
        Request: Distrusted,
        Result,
        execute: (distrusted) => sql`
          select build.id::text as build, ${`${storeDir}/`}::text || derivation as derivation, outcome, host,
            sandbox as backend, epoch,
            to_char(attempt.started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "startedAt",
            array(
              select distinct account.name::text from build as other
              join build_account on build_account.build = other.id join account on account.id = build_account.account
              where other.id = build.id or other.reused_from = build.id order by 1
            ) as accounts
          from attempt join build on build.current_attempt = attempt.id
          where build.ended_at is not null and ${matches(distrusted)}
          order by build.id desc limit ${linesMax}`
      })

      const holders = (distrusted: Distrusted) => sql`
        select distinct account.name::text as account, ${`${storeDir}/`}::text || view_path.path as path,
          build.id::text as build
        from attempt join build on build.current_attempt = attempt.id
        join build_output on build_output.build = build.id
        join store_object on store_object.path = build_output.path and store_object.nar_hash = build_output.nar_hash
        join view_path on view_path.object = store_object.id
        join account on account.view = view_path.view
        where ${matches(distrusted)}`

      const selectHolders = SqlSchema.findAll({
        Request: Distrusted,
        Result: Holder,
        execute: (distrusted) => sql`${holders(distrusted)} order by 1, 2, 3 limit ${linesMax}`
      })

      const takeBack = Effect.fn("DistrustRepository.takeBack")(
        function* (distrusted: Distrusted) {
          yield* sql`
            update attempt set distrusted_at = now() where distrusted_at is null and ${matches(distrusted)}`
          const [counts] = yield* selectCounts(distrusted)
          const results = yield* selectResults(distrusted)
          return { ...counts!, results, holders: yield* selectHolders(distrusted) }
        },
        sql.withTransaction,
        Effect.catchTags(fromSql("taking results back"))
      )

      return { takeBack }
    })
  )
}
