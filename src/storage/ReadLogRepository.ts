/**
 * Which of its inputs each attempt read, where the sandbox can tell: for whoever asks why a build depends on so much.
 *
 * A note, not part of the record of a build: nothing is decided by it, and a build that cannot leave it has ended well
 * all the same.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import type { AttemptId } from "../domain/Attempt.ts"
import type { InputRead } from "../domain/InputRead.ts"
import { fromSql, type StorageError } from "./StorageError.ts"

/** More of an attempt are counted and not named, so that no closure makes a row of many megabytes. */
export const pathsMax = 4096

/** What an attempt read, as `builds show --json` prints it. */
export const ReadLog = Schema.Struct({
  /** Which attempt of the build, from 1. */
  attempt: Schema.Int,
  /** Paths that the build could see. */
  inputs: Schema.Int,
  /** Of how many of them any file was read. */
  read: Schema.Int,
  /** Those, the most read first: their store paths, and bytes. */
  paths: Schema.Array(Schema.Struct({ path: Schema.String, bytes: Schema.Int }))
})
export type ReadLog = typeof ReadLog.Type

export class ReadLogRepository extends Context.Service<
  ReadLogRepository,
  {
    /** `inputs`: paths that the attempt could see. The first word about an attempt stays. */
    readonly record: (
      attempt: AttemptId,
      inputs: number,
      read: ReadonlyArray<InputRead>
    ) => Effect.Effect<void, StorageError>
    /** Of each attempt of a build that left one, in the order in which they were made. */
    readonly list: (build: string) => Effect.Effect<ReadonlyArray<ReadLog>, StorageError>
  }
>()("drover/storage/ReadLogRepository") {
  static readonly layer = Layer.effect(
    ReadLogRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const record = Effect.fn("ReadLogRepository.record")(
        (attempt: AttemptId, inputs: number, read: ReadonlyArray<InputRead>) => {
          const named = read.toSorted((one, other) => other.bytes - one.bytes).slice(0, pathsMax)
          // Not synced by itself: it is on disk with the end of the build, which is.
          return sql`
            insert into attempt_read (attempt, inputs, read, paths, bytes)
            select ${attempt}::uuid, ${inputs}, ${read.length}, ${named.map(({ path }) => path)}::text[],
              ${named.map(({ bytes }) => bytes)}::bigint[]
            from (select set_config('synchronous_commit', 'off', true)) as unsynced
            on conflict do nothing`
        },
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording what a build read").SqlError)
      )

      const select = SqlSchema.findAll({
        Request: Schema.String,
        Result: ReadLog,
        execute: (build) => sql`
          select ordinal as attempt, inputs, read, coalesce((
              select jsonb_agg(jsonb_build_object('path', path, 'bytes', count) order by nr)
              from unnest(paths, bytes) with ordinality as named(path, count, nr)
            ), '[]') as paths
          from attempt join attempt_read on attempt_read.attempt = attempt.id
          where build = ${build}::uuid order by ordinal`
      })
      const list = Effect.fn("ReadLogRepository.list")(select, Effect.catchTags(fromSql("listing what a build read")))

      return { record, list }
    })
  )
}
