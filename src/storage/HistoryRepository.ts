/**
 * How earlier builds like one did: what they were given, and what they used of it.
 *
 * It is remembered with the end of an attempt, in the same statement, for each account that waited; of each package of
 * an account only the newest. What the same build used is known to whoever asks for the same build; what is only alike
 * by its name, to nobody but its account.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, SqlSchema, type Statement } from "effect/sql"
import { AccountId } from "../domain/Account.ts"
import { BuildId } from "../domain/BuildId.ts"
import { type History, Measured } from "../domain/Sizing.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

/** Of each package of an account. More would be read by nobody, and an account's history has no other bound. */
export const rememberedMax = 24

/** Of each kind of likeness. A policy looks at fewer that it can use, but some it cannot. */
const foundMax = 12

export interface Asked {
  readonly account: AccountId
  readonly identity: BuildId
  /** The derivation's, with the version in it. */
  readonly name: string
}

export class HistoryRepository extends Context.Service<
  HistoryRepository,
  {
    /** Attempts that came to an end of their own at builds that are alike, each list with the newest first. */
    readonly find: (asked: Asked) => Effect.Effect<History, StorageError>
  }
>()("drover/storage/HistoryRepository") {
  static readonly layer = Layer.effect(
    HistoryRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const select = SqlSchema.findAll({
        Request: Schema.Struct({ account: AccountId, identity: BuildId, name: Schema.String }),
        Result: Schema.Struct({
          likeness: Schema.Literals(["identity", "version", "name"]),
          ...Measured.fields
        }),
        execute: ({ account, identity, name }) => {
          const those = (likeness: string, condition: Statement.Fragment) => sql`
            (select distinct ${likeness}::text as likeness, attempt, ended_at from attempt_history
             where ${condition} order by ended_at desc, attempt desc limit ${foundMax})`
          const ours = sql`account = ${account}::uuid and package = package_of(${name})`
          return sql`
            select likeness, outcome, cores, memory_bytes::float8 as "memoryBytes",
              memory_peak_bytes::float8 as "memoryPeakBytes", memory_held_bytes::float8 as "memoryHeldBytes",
              run_milliseconds::float8 as "runMilliseconds",
              (cpu_user_microseconds + cpu_system_microseconds)::float8 as "cpuMicroseconds"
            from (
              ${those("identity", sql`identity = decode(${identity}, 'hex')`)}
              union all ${those("version", sql`${ours} and version = version_of(${name})`)}
              union all ${those("name", ours)}
            ) as alike join attempt on attempt.id = alike.attempt
            order by alike.ended_at desc, alike.attempt desc`
        }
      })

      const find = Effect.fn("HistoryRepository.find")(
        (asked: Asked) =>
          Effect.map(select(asked), (rows): History => {
            const like = (likeness: (typeof rows)[number]["likeness"]) =>
              rows.flatMap(({ likeness: found, ...measured }) => (found === likeness ? [measured] : []))
            return { identity: like("identity"), version: like("version"), name: like("name") }
          }),
        Effect.catchTags(fromSql("finding how earlier builds did"))
      )

      return { find }
    })
  )
}

/**
 * For a statement whose expression `ended` has the attempts that it ends, and their builds: remembers them, and forgets
 * as many. What was cancelled or lost says nothing of the next.
 */
export const remembering = (sql: SqlClient.SqlClient): Statement.Fragment => sql`
  waited as (
    select ended.id as attempt, account, identity, package_of(name) as package, version_of(name) as version
    from ended join build on build.id = ended.build join build_account on build_account.build = build.id
    where ended.outcome in ('succeeded', 'failed', 'refused', 'out-of-memory')
  ),
  forgotten as (
    delete from attempt_history as history
    using waited, lateral (
      select attempt from attempt_history
      where account = waited.account and package = waited.package
      order by ended_at desc offset ${rememberedMax - 1}
    ) as old
    where history.account = waited.account and history.attempt = old.attempt
  ),
  remembered as (
    insert into attempt_history (account, attempt, identity, package, version)
    select account, attempt, identity, package, version from waited
  )`
