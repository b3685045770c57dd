/**
 * Finished builds as answers to later requests: which there are of an identity, what they made, and who was answered
 * by them.
 *
 * What is read here is of no view: a request gets at it by the identity of its build alone, which nobody has who does
 * not hold the same inputs.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { AttemptId, Backend, Outcome } from "../domain/Attempt.ts"
import type { AccountId } from "../domain/Account.ts"
import type { BuildId } from "../domain/BuildId.ts"
import { FailureStatus } from "../domain/Failure.ts"
import type { ViewId } from "../domain/View.ts"
import { Sha256 } from "../protocol/nix/Hash.ts"
import { StorePath } from "../protocol/nix/StorePath.ts"
import type { NewBuild } from "./BuildRepository.ts"
import { fromSql, type StorageError } from "./StorageError.ts"
import { Tenure } from "./Tenure.ts"

/** Beyond these an identity has been built so often, without an answer that serves anybody, that more are of no use. */
const candidatesMax = 64

/** A build that has ended, with the attempt that ended it. */
const Finished = Schema.Struct({
  build: Schema.String,
  state: Schema.Literals(["succeeded", "failed", "cancelled"]),
  status: Schema.Literals(["Built", ...FailureStatus.literals]),
  message: Schema.String,
  derivation: StorePath,
  isOwn: Schema.Boolean,
  isComplete: Schema.Boolean,
  agrees: Schema.Boolean,
  isDistrusted: Schema.Boolean,
  attempt: AttemptId,
  outcome: Outcome,
  backend: Backend,
  epoch: Schema.Int,
  cores: Schema.Int,
  memoryBytes: Schema.Int,
  limitSeconds: Schema.NullOr(Schema.Int),
  cpuUserMicroseconds: Schema.NullOr(Schema.Int),
  cpuSystemMicroseconds: Schema.NullOr(Schema.Int),
  /** Seconds since the epoch, of the attempt. */
  startedAt: Schema.Int,
  endedAt: Schema.Int
})
export type Finished = typeof Finished.Type

/** One of a build's outputs, as it would stand in a view. */
const MadeOutput = Schema.Struct({
  name: Schema.String,
  path: StorePath,
  narHash: Sha256,
  narSize: Schema.Int,
  references: Schema.Array(StorePath),
  /** Empty for what is not content-addressed. */
  contentAddress: Schema.String
})
export type MadeOutput = typeof MadeOutput.Type

/** A request that needed no attempt. */
export interface Reused extends Omit<NewBuild, "notReused"> {
  /** The build that answered it. */
  readonly from: string
}

export class ReuseRepository extends Context.Service<
  ReuseRepository,
  {
    /** Builds of an identity that ended with a word of the builder's own or a waiter's limit, as this account sees them. */
    readonly candidates: (
      identity: BuildId,
      account: AccountId,
      view: ViewId
    ) => Effect.Effect<ReadonlyArray<Finished>, StorageError>
    readonly outputs: (build: string) => Effect.Effect<ReadonlyArray<MadeOutput>, StorageError>
    /** Records a build that ended at once, as the one did that it is answered by. Doing so twice changes nothing. */
    readonly record: (reused: Reused) => Effect.Effect<void, StorageError>
  }
>()("drover/storage/ReuseRepository") {
  static readonly layer = Layer.effect(
    ReuseRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { holds } = yield* Tenure

      // Successes come first, and one's own, so that no number of others can hide them.
      const select = SqlSchema.findAll({
        Request: Schema.Struct({ identity: Schema.String, account: Schema.String, view: Schema.String }),
        Result: Finished,
        execute: ({ account, identity, view }) => sql`
          select build.id::text as build, state, status, message, derivation,
            exists (
              select from build_account where build_account.build = build.id and account = ${account}::uuid
            ) as "isOwn",
            state = 'succeeded' and not exists (
              select from build_output where build_output.build = build.id and reference_paths is null
            ) as "isComplete",
            not exists (
              select from build_output
              join view_path on view_path.view = ${view}::uuid and view_path.path = build_output.path
              join store_object on store_object.id = view_path.object
              where build_output.build = build.id and store_object.nar_hash <> build_output.nar_hash
            ) as agrees,
            distrusted_at is not null as "isDistrusted",
            attempt.id::text as attempt, outcome, sandbox as backend, epoch, cores, memory_bytes::float8 as "memoryBytes",
            limit_seconds as "limitSeconds",
            cpu_user_microseconds::float8 as "cpuUserMicroseconds",
            cpu_system_microseconds::float8 as "cpuSystemMicroseconds",
            floor(extract(epoch from attempt.started_at))::float8 as "startedAt",
            floor(extract(epoch from attempt.ended_at))::float8 as "endedAt"
          from build join attempt on attempt.id = build.current_attempt
          where identity = decode(${identity}, 'hex') and reused_from is null and build.ended_at is not null
            and attempt.ended_at is not null
            and (state in ('succeeded', 'failed') or outcome in ('timed-out', 'silent'))
          order by state = 'succeeded' desc, "isOwn" desc, created_at desc
          limit ${candidatesMax}`
      })
      const candidates = Effect.fn("ReuseRepository.candidates")(
        (identity: BuildId, account: AccountId, view: ViewId) => select({ identity, account, view }),
        Effect.catchTags(fromSql("looking for finished builds"))
      )

      const selectOutputs = SqlSchema.findAll({
        Request: Schema.String,
        Result: MadeOutput,
        execute: (build) => sql`
          select name, path, encode(nar_hash, 'hex') as "narHash", size::float8 as "narSize",
            reference_paths::text[] as "references", ca as "contentAddress"
          from build_output join nar on nar.hash = nar_hash
          where build = ${build}::uuid and reference_paths is not null
          order by name`
      })
      const outputs = Effect.fn("ReuseRepository.outputs")(
        selectOutputs,
        Effect.catchTags(fromSql("finding what a build made"))
      )

      const record = Effect.fn("ReuseRepository.record")(
        ({ account, derivation, from, id, identity, name, system }: Reused) => sql`
          with made as (
            insert into build (id, identity, derivation, name, system, reused_from, state, status, message, ended_at)
            select ${id}::uuid, ${Buffer.from(identity, "hex")}::bytea, ${derivation}, ${name}, ${system}, id,
              state, status, message, now()
            from build, (select set_config('synchronous_commit', 'off', true), ${holds}) as unsynced
            where id = ${from}::uuid
            on conflict (id) do nothing
            returning id
          )
          insert into build_account (build, account) select id, ${account}::uuid from made`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording a build that was answered by another").SqlError)
      )

      return { candidates, outputs, record }
    })
  )
}
