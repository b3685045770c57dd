/**
 * The record of builds as it is read: who asked, what was tried, how it ended, what answered it and whom it answered.
 *
 * For the operator, who sees every account. Nothing of it is a client's to read.
 */
import { Context, Effect, Layer, type Option, Schema } from "effect"
import { SqlClient, SqlSchema, type Statement } from "effect/sql"
import { Backend, Outcome, Usage } from "../domain/Attempt.ts"
import { HostId } from "../domain/Host.ts"
import { storeDir } from "../protocol/nix/StorePath.ts"
import { BuildState } from "./BuildRepository.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

const Text = Schema.NullOr(Schema.String)

/** Bytes and counts beyond 2^53 do not occur. Times are ISO 8601 in UTC. */
const Attempt = Schema.Struct({
  host: HostId,
  sandbox: Backend,
  startedAt: Schema.String,
  endedAt: Text,
  outcome: Schema.NullOr(Outcome),
  cores: Schema.Int,
  memoryBytes: Schema.Int
})

/** A build as `builds list --json` prints it. */
export const BuildRecord = Schema.Struct({
  id: Schema.String,
  /** Absolute, as the client called it. */
  derivation: Schema.String,
  system: Schema.String,
  state: BuildState,
  /** Names of those who waited for it, in the order in which they came. */
  accounts: Schema.Array(Schema.String),
  /** The build whose result answered this one; null when it was built. */
  reusedFrom: Text,
  /** In the order in which they were made. */
  attempts: Schema.Array(Attempt)
})
export type BuildRecord = typeof BuildRecord.Type

/** Another build that has to do with this one: the one that answered it, or one that it answered. */
const Other = Schema.Struct({ id: Schema.String, accounts: Schema.Array(Schema.String), endedAt: Text })

/** A build as `builds show --json` prints it. */
export const BuildDetails = Schema.Struct({
  id: Schema.String,
  /** What makes two builds the same: 64 hexadecimal digits. */
  identity: Schema.String,
  derivation: Schema.String,
  name: Schema.String,
  system: Schema.String,
  state: BuildState,
  /** Nix's own word for how it ended, and what its clients were told. */
  status: Text,
  message: Text,
  createdAt: Schema.String,
  startedAt: Text,
  endedAt: Text,
  waiters: Schema.Array(Schema.Struct({ account: Schema.String, since: Schema.String })),
  reusedFrom: Schema.NullOr(Other),
  /** Why no finished build answered it; null when one did, and where that was not asked. */
  notReused: Text,
  /** The newest that it answered, and of how many. */
  answered: Schema.Array(Other),
  answeredCount: Schema.Int,
  outputs: Schema.Array(Schema.Struct({ name: Schema.String, path: Schema.String, narHash: Schema.String })),
  attempts: Schema.Array(
    Schema.Struct({
      ...Attempt.fields,
      ...Usage.fields,
      id: Schema.String,
      epoch: Schema.Int,
      versions: Schema.Record(Schema.String, Schema.String),
      detail: Text,
      /** The waiter's limit that ended it. */
      limitSeconds: Schema.NullOr(Schema.Int),
      /** When the operator took its result back. */
      distrustedAt: Text,
      logBytes: Schema.NullOr(Schema.Int)
    })
  )
})
export type BuildDetails = typeof BuildDetails.Type

/** Builds that were answered by one, as far as they are named. */
const answeredMax = 100

export class BuildRecords extends Context.Service<
  BuildRecords,
  {
    /** Newest first. */
    readonly list: (options: { readonly limit: number }) => Effect.Effect<ReadonlyArray<BuildRecord>, StorageError>
    readonly find: (build: string) => Effect.Effect<Option.Option<BuildDetails>, StorageError>
  }
>()("drover/storage/BuildRecords") {
  static readonly layer = Layer.effect(
    BuildRecords,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const prefix = `${storeDir}/`

      const selectNewest = SqlSchema.findAll({
        Request: Schema.Int,
        Result: BuildRecord,
        execute: (limit) => sql`
          select id::text, ${prefix}::text || derivation as derivation, system, state,
            reused_from::text as "reusedFrom",
            array(
              select account.name from build_account join account on account.id = account
              where build = build.id order by joined_at, account.id
            ) as accounts,
            coalesce((
              select jsonb_agg(jsonb_build_object(
                'host', host, 'sandbox', sandbox, 'startedAt', ${iso(sql, "started_at")}, 'endedAt', ${iso(sql, "ended_at")},
                'outcome', outcome, 'cores', cores, 'memoryBytes', memory_bytes
              ) order by ordinal)
              from attempt where attempt.build = build.id
            ), '[]') as attempts
          from build order by created_at desc, id desc limit ${limit}`
      })
      const list = Effect.fn("BuildRecords.list")(
        ({ limit }: { readonly limit: number }) => selectNewest(limit),
        Effect.catchTags(fromSql("listing builds"))
      )

      const others = (builds: Statement.Fragment) => sql`
        select jsonb_build_object('id', other.id, 'endedAt', ${iso(sql, "other.ended_at")}, 'accounts', array(
          select account.name from build_account join account on account.id = account
          where build_account.build = other.id order by joined_at, account.id
        )) from build as other where ${builds}`

      const selectOne = SqlSchema.findOneOption({
        Request: Schema.String,
        Result: BuildDetails,
        execute: (id) => sql`
          select id::text, encode(identity, 'hex') as identity, ${prefix}::text || derivation as derivation, name, system,
            state, status, message, not_reused as "notReused", ${iso(sql, "created_at")} as "createdAt",
            ${iso(sql, "started_at")} as "startedAt", ${iso(sql, "ended_at")} as "endedAt",
            coalesce((
              select jsonb_agg(jsonb_build_object('account', account.name, 'since', ${iso(sql, "joined_at")})
                order by joined_at, account.id)
              from build_account join account on account.id = account where build_account.build = build.id
            ), '[]') as waiters,
            (${others(sql`other.id = build.reused_from`)}) as "reusedFrom",
            array(${others(sql`other.reused_from = build.id`)} order by other.id desc limit ${answeredMax}) as answered,
            (select count(*)::float8 from build as other where other.reused_from = build.id) as "answeredCount",
            coalesce((
              select jsonb_agg(jsonb_build_object('name', name, 'path', ${prefix}::text || path,
                'narHash', encode(nar_hash, 'hex')) order by name)
              from build_output where build_output.build = build.id
            ), '[]') as outputs,
            coalesce((
              select jsonb_agg(jsonb_build_object(
                'id', attempt.id, 'host', host, 'sandbox', sandbox, 'epoch', epoch, 'versions', versions,
                'startedAt', ${iso(sql, "attempt.started_at")}, 'endedAt', ${iso(sql, "attempt.ended_at")},
                'outcome', outcome, 'detail', detail, 'limitSeconds', limit_seconds, 'cores', cores,
                'memoryBytes', memory_bytes, 'distrustedAt', ${iso(sql, "distrusted_at")},
                'cpuUserMicroseconds', cpu_user_microseconds, 'cpuSystemMicroseconds', cpu_system_microseconds,
                'memoryPeakBytes', memory_peak_bytes, 'memoryHeldBytes', memory_held_bytes,
                'runMilliseconds', run_milliseconds, 'logBytes', log_bytes
              ) order by ordinal)
              from attempt where attempt.build = build.id
            ), '[]') as attempts
          from build where id = ${id}::uuid`
      })
      const find = Effect.fn("BuildRecords.find")(selectOne, Effect.catchTags(fromSql("finding a build")))

      return { list, find }
    })
  )
}

/** A time in the spelling of `Date.toISOString`. */
const iso = (sql: SqlClient.SqlClient, column: string): Statement.Fragment =>
  sql`to_char(${sql(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
