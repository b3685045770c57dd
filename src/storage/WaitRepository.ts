/**
 * Who waits for which build, kept for the server that comes after this one.
 *
 * A wait begins when its build is known and ends with it, or when its client leaves. One that is still there when a
 * server starts belongs to somebody who was cut off, and who may come back; from it the build can be asked for again
 * just as its client asked. The database guarantees that a wait is of a build with an order, and of an account, and that
 * nothing here is said by a server that another has taken the database over from (see `Tenure`), which fails.
 *
 * None of it is synced by itself: what a crash of the machine takes is a wait of its last moment, and whoever comes
 * back then asks anew.
 */
import { Context, Effect, Layer, Result, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { Account } from "../domain/Account.ts"
import { BuildId } from "../domain/BuildId.ts"
import { Limits } from "../domain/Limits.ts"
import { restore, type Settings } from "../domain/Settings.ts"
import type { BasicDerivation } from "../protocol/nix/Derivation.ts"
import { StorePath } from "../protocol/nix/StorePath.ts"
import * as Codec from "../protocol/wire/Codec.ts"
import * as Wire from "../protocol/worker/Derivation.ts"
import { fromSql, type StorageError } from "./StorageError.ts"
import { Tenure } from "./Tenure.ts"

/** What a client waits for, and by which rules of its own. */
export interface Wait {
  /** A UUIDv7. */
  readonly id: string
  readonly build: string
  readonly account: Account
  readonly derivation: BasicDerivation
  readonly limits: Limits
  readonly settings: Settings
}

/** A wait whose server is gone. */
export interface Owed extends Wait {
  readonly identity: BuildId
  readonly derivationPath: StorePath
  /** Milliseconds since the epoch; null if its client was there to the end, infinite if it asked not to be needed. */
  readonly keptUntil: number | null
}

export interface Interrupted {
  readonly attempts: number
  readonly queued: number
  readonly cancelled: number
}

/** A build that was under way whenever the server was killed may be what killed it. */
const killsMax = 3

/** What is said of an attempt by how its server came to its end: other losses of a build count elsewhere. */
const details = { ended: "the server ended", killed: "the server was killed" } as const

const Row = Schema.Struct({
  id: Schema.String,
  build: Schema.String,
  account: Account,
  identity: BuildId,
  derivationPath: StorePath,
  derivation: Schema.Uint8Array,
  limits: Limits,
  settings: Schema.Record(Schema.String, Schema.Unknown),
  keptUntil: Schema.NullOr(Schema.Number)
})

/** The layout is the same in all versions of the protocol. */
const version = 0

export class WaitRepository extends Context.Service<
  WaitRepository,
  {
    /** Beginning one twice changes nothing. */
    readonly begin: (wait: Wait) => Effect.Effect<void, StorageError>
    /** Its client is gone, and is waited for until then: milliseconds since the epoch, or infinity. */
    readonly keep: (wait: string, until: number) => Effect.Effect<void, StorageError>
    readonly end: (wait: string) => Effect.Effect<void, StorageError>
    /**
     * For the end of a server, or the start after one that was killed: no attempt runs any more. Builds that somebody
     * may come back for are queued again; the others are over, and so is one that was under way at too many crashes.
     * Counts them.
     */
    readonly interrupted: (how: "ended" | "killed") => Effect.Effect<Interrupted, StorageError>
    /** Those of builds that have not ended, oldest first. */
    readonly owed: Effect.Effect<ReadonlyArray<Owed>, StorageError>
  }
>()("drover/storage/WaitRepository") {
  static readonly layer = Layer.effect(
    WaitRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { holds } = yield* Tenure
      const unsynced = sql`(select set_config('synchronous_commit', 'off', true), ${holds}) as unsynced`

      const begin = Effect.fn("WaitRepository.begin")(
        // Where the build is gone already, which then has ended, there is nothing to wait for. It does not end meanwhile:
        // the wait would stay.
        ({ account, build, derivation, id, limits, settings }: Wait) => sql`
          with open as (
            select id from build, ${unsynced} where id = ${build}::uuid and ended_at is null for share of build
          ), ordered as (
            insert into build_order (build, derivation)
            select id, ${Codec.encode(Wire.BasicDerivation, derivation, version)}::bytea from open
            on conflict do nothing
          )
          insert into build_wait (id, build, account, limits, settings)
          select ${id}::uuid, id, ${account.id}::uuid, ${JSON.stringify(limits)}::text::jsonb,
            ${JSON.stringify(settings)}::text::jsonb
          from open
          on conflict do nothing`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording who waits for a build").SqlError)
      )

      const keep = Effect.fn("WaitRepository.keep")(
        (wait: string, until: number) => sql`
          update build_wait set kept_until = ${
            until === Infinity ? sql`'infinity'` : sql`to_timestamp(${until}::float8 / 1000)`
          } from ${unsynced} where id = ${wait}::uuid`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("keeping a build for its client").SqlError)
      )

      const end = Effect.fn("WaitRepository.end")(
        (wait: string) => sql`delete from build_wait using ${unsynced} where id = ${wait}::uuid`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("ending a wait").SqlError)
      )

      const interrupted = Effect.fn("WaitRepository.interrupted")(
        function* (how: "ended" | "killed") {
          yield* sql`select ${holds}`
          const attempts = yield* sql`
            update attempt set ended_at = now(), outcome = ${how === "ended" ? "cancelled" : "lost"},
              detail = ${details[how]}
            where ended_at is null returning id`
          yield* sql`delete from build_wait where kept_until <= now()`
          const cancelled = yield* sql`
            update build set state = 'cancelled', status = 'MiscFailure', message = 'the server ended', ended_at = now()
            where ended_at is null and (
              not exists (select from build_wait where build_wait.build = build.id)
              or (
                select count(*) from attempt
                where attempt.build = build.id and outcome = 'lost' and detail = ${details.killed}
              ) >= ${killsMax}
            ) returning id`
          const queued = yield* sql`update build set state = 'queued' where ended_at is null returning id`
          yield* sql`delete from build_order using build where build.id = build_order.build and ended_at is not null`
          return { attempts: attempts.length, queued: queued.length, cancelled: cancelled.length }
        },
        sql.withTransaction,
        Effect.catchTag("SqlError", fromSql("ending interrupted builds").SqlError)
      )

      const select = SqlSchema.findAll({
        Request: Schema.Void,
        Result: Row,
        execute: () => sql`
          select build_wait.id::text, build.id::text as build, encode(identity, 'hex') as identity,
            build.derivation as "derivationPath", build_order.derivation, limits, settings,
            extract(epoch from kept_until)::float8 * 1000 as "keptUntil",
            json_build_object('id', account.id, 'name', account.name, 'view', account.view) as account
          from build_wait
            join build_order using (build) join build on build.id = build_wait.build
            join account on account.id = build_wait.account
          where ended_at is null order by build_wait.id`
      })
      const owed = select().pipe(
        Effect.map((rows) =>
          rows.map(({ derivation, settings, ...row }): Owed => ({
            ...row,
            settings: restore(settings),
            // What this floor wrote and cannot read is a bug.
            derivation: Result.getOrThrow(Codec.decode(Wire.BasicDerivation, derivation, version))
          }))
        ),
        Effect.catchTags(fromSql("finding who is owed a build")),
        Effect.withSpan("WaitRepository.owed")
      )

      return { begin, keep, end, interrupted, owed }
    })
  )
}
