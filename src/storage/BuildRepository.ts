/**
 * The record of builds as it is written: who asked, what was tried, how it ended.
 *
 * A write about an attempt counts only while that attempt is its build's current one and has not ended; a write about
 * a build only while it has not ended. A late one changes nothing and is told so. The database guarantees that what
 * has ended has an end, and that a build has at most one attempt running; and that nothing here is said by a server that
 * another has taken the database over from (see `Tenure`), which fails.
 */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../domain/Account.ts"
import type { AttemptId, Backend, Outcome, Usage } from "../domain/Attempt.ts"
import type { BuildId } from "../domain/BuildId.ts"
import type { HostId } from "../domain/Host.ts"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"
import { remembering } from "./HistoryRepository.ts"
import { fromSql, type StorageError } from "./StorageError.ts"
import { Tenure } from "./Tenure.ts"

export const BuildState = Schema.Literals(["queued", "building", "importing", "succeeded", "failed", "cancelled"])
export type BuildState = typeof BuildState.Type

/** Whether a write counted, or came when somebody else's word was already the last. */
export type Written = "written" | "superseded"

export interface NewBuild {
  /** A UUIDv7. */
  readonly id: string
  readonly identity: BuildId
  readonly derivation: StorePath
  readonly name: string
  readonly system: string
  readonly account: AccountId
  /** Why no finished build answers it. */
  readonly notReused?: string
}

export interface NewAttempt {
  readonly id: AttemptId
  readonly host: HostId
  readonly sandbox: Backend
  readonly epoch: number
  readonly versions: { readonly [part: string]: string }
  readonly cores: number
  readonly memoryBytes: number
}

export interface AttemptEnd {
  readonly outcome: Outcome
  /** For people: the exit status, the signal, the rule that was broken. */
  readonly detail: string
  readonly usage: Usage
  readonly logBytes: number
}

export interface BuildEnd {
  readonly state: "succeeded" | "failed" | "cancelled"
  /** Nix's own word: `Built`, `PermanentFailure`. */
  readonly status: string
  /** Empty on success. */
  readonly message: string
  readonly outputs: ReadonlyArray<EndOutput>
}

/** What a build made: all that it takes to give it to a view. The hash tells which object of that path it is. */
export interface EndOutput {
  readonly name: string
  readonly path: StorePath
  readonly narHash: Sha256
  readonly references: ReadonlyArray<StorePath>
  /** Empty for what is not content-addressed. */
  readonly contentAddress: string
}

export class BuildRepository extends Context.Service<
  BuildRepository,
  {
    /** A new build, queued, waited for by this account. One that a server before this one had queued stays as it is. */
    readonly create: (build: NewBuild) => Effect.Effect<void, StorageError>
    /** Notes that a further account waits for it. */
    readonly join: (build: string, account: AccountId) => Effect.Effect<void, StorageError>
    readonly setState: (
      build: string,
      state: "queued" | "building" | "importing",
      attempt?: AttemptId
    ) => Effect.Effect<Written, StorageError>
    /** Makes this the current attempt, and the build `building`. One that still ran is lost; one that has ended stays so. */
    readonly beginAttempt: (build: string, attempt: NewAttempt) => Effect.Effect<Written, StorageError>
    readonly endAttempt: (attempt: AttemptId, end: AttemptEnd) => Effect.Effect<Written, StorageError>
    /** `attempt`: the one whose word it is, which is to have ended. Where that is none, anybody's counts. */
    readonly finish: (build: string, end: BuildEnd, attempt?: AttemptId) => Effect.Effect<Written, StorageError>
    /** Which limit of a waiter's ended the last attempt of a build. */
    readonly setLimit: (build: string, seconds: number) => Effect.Effect<void, StorageError>
  }
>()("drover/storage/BuildRepository") {
  static readonly layer = Layer.effect(
    BuildRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { holds } = yield* Tenure

      // On disk with the next commit that is synced, a moment later at most. A build is told of when it has ended, and
      // that is synced; what a crash of the machine takes of one under way is the record of what it ended.
      const unsynced = sql`(select set_config('synchronous_commit', 'off', true), ${holds}) as unsynced`

      const create = Effect.fn("BuildRepository.create")(
        ({ account, derivation, id, identity, name, notReused, system }: NewBuild) => sql`
          with made as (
            insert into build (id, identity, derivation, name, system, not_reused)
            select ${id}::uuid, ${Buffer.from(identity, "hex")}::bytea, ${derivation}, ${name}, ${system},
              ${notReused ?? null}::text
            from ${unsynced}
            on conflict (id) do nothing
            returning id
          )
          insert into build_account (build, account) select id, ${account}::uuid from made`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording a build").SqlError)
      )

      const join = Effect.fn("BuildRepository.join")(
        (build: string, account: AccountId) => sql`
          insert into build_account (build, account)
          select id, ${account}::uuid from build, (select ${holds}) as tenure where id = ${build}
          on conflict do nothing`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording who waits for a build").SqlError)
      )

      const setState = Effect.fn("BuildRepository.setState")(
        (build: string, state: BuildState, attempt?: AttemptId) => sql`
          update build set state = ${state} from ${unsynced} where id = ${build} and ended_at is null
            and (${attempt ?? null}::uuid is null or current_attempt = ${attempt ?? null}::uuid)
          returning id`,
        Effect.map(writtenIfAny),
        Effect.catchTag("SqlError", fromSql("recording the state of a build").SqlError)
      )

      // One round trip. The build is locked before anything is changed: whoever ends it at this moment comes first or
      // waits. One attempt at a time is open, so what is lost ends before the next begins, which may be there: a
      // connection can be lost between a commit and the word of it.
      const beginAttempt = Effect.fn("BuildRepository.beginAttempt")(
        (build: string, attempt: NewAttempt) => sql`
          with open as (
            select id from build, ${unsynced}
            where id = ${build}::uuid and ended_at is null
              and not exists (select from attempt where attempt.id = ${attempt.id}::uuid and attempt.ended_at is not null)
            for update of build
          ), lost as (
            update attempt set ended_at = now(), outcome = 'lost' from open
            where attempt.build = open.id and attempt.id <> ${attempt.id}::uuid and ended_at is null returning attempt.id
          ), begun as (
            insert into attempt (id, build, ordinal, host, sandbox, epoch, versions, cores, memory_bytes)
            select ${attempt.id}::uuid, open.id, 1 + (select count(*) from attempt where attempt.build = open.id),
              ${attempt.host}, ${attempt.sandbox}, ${attempt.epoch}, ${JSON.stringify(attempt.versions)}::text::jsonb,
              ${attempt.cores}, ${attempt.memoryBytes}::bigint
            from open where (select count(*) from lost) >= 0
            on conflict (id) do nothing
          )
          update build set state = 'building', current_attempt = ${attempt.id}::uuid,
            started_at = coalesce(started_at, now())
          from open where build.id = open.id returning build.id`,
        // Another attempt has begun while the lock was waited for: only a later statement sees it.
        Effect.retry({ times: 1, while: ({ reason }) => reason._tag === "UniqueViolation" }),
        Effect.map(writtenIfAny),
        Effect.catchTag("SqlError", fromSql("recording an attempt").SqlError)
      )

      const endAttempt = Effect.fn("BuildRepository.endAttempt")(
        (attempt: AttemptId, { detail, logBytes, outcome, usage }: AttemptEnd) => sql`
          with ended as (
            update attempt set ended_at = now(), outcome = ${outcome}, detail = ${storable(detail)},
              cpu_user_microseconds = ${usage.cpuUserMicroseconds}::bigint,
              cpu_system_microseconds = ${usage.cpuSystemMicroseconds}::bigint,
              memory_peak_bytes = ${usage.memoryPeakBytes}::bigint,
              memory_held_bytes = ${usage.memoryHeldBytes}::bigint,
              run_milliseconds = ${usage.runMilliseconds}::bigint, log_bytes = ${logBytes}::bigint
            from build, ${unsynced}
            where attempt.id = ${attempt} and attempt.ended_at is null
              and build.id = attempt.build and build.current_attempt = attempt.id and build.ended_at is null
            returning attempt.id, attempt.build, attempt.outcome
          ), ${remembering(sql)}
          select id from ended`,
        Effect.map(writtenIfAny),
        Effect.catchTag("SqlError", fromSql("recording the end of an attempt").SqlError)
      )

      const finish = Effect.fn("BuildRepository.finish")(
        function* (build: string, { message, outputs, state, status }: BuildEnd, attempt?: AttemptId) {
          const ended = yield* sql`
            with ended as (
              update build set state = ${state}, status = ${status}, message = ${storable(message)}, ended_at = now()
              from (select ${holds}) as tenure
              where id = ${build}::uuid and ended_at is null
                and (${attempt ?? null}::uuid is null or current_attempt = ${attempt ?? null}::uuid)
                -- Its end was not synced, and may be lost.
                and not exists (
                  select from attempt where attempt.id = ${attempt ?? null}::uuid and attempt.ended_at is null
                )
              returning id
            ), made as (
              insert into build_output (build, name, path, nar_hash, reference_paths, ca)
              select id, name, path, decode(nar_hash, 'hex'),
                array(select jsonb_array_elements_text(reference_paths::jsonb)), ca
              from ended, unnest(
                ${outputs.map(({ name }) => name)}::text[],
                ${outputs.map(({ path }) => path)}::text[],
                ${outputs.map(({ narHash }) => narHash)}::text[],
                ${outputs.map(({ references }) => JSON.stringify(references))}::text[],
                ${outputs.map(({ contentAddress }) => contentAddress)}::text[]
              ) as output(name, path, nar_hash, reference_paths, ca)
            )
            select id from ended`
          if (ended.length === 0) return "superseded" as const
          // What still runs when the build has its answer is nobody's any more. Nobody is owed it, whoever waits for it
          // now and whoever had only been cut off; and whoever came just before, which only a later statement sees.
          yield* sql`
            with forgotten as (delete from build_order where build = ${build}::uuid)
            update attempt set ended_at = now(), outcome = 'cancelled' where build = ${build} and ended_at is null`
          return "written" as const
        },
        sql.withTransaction,
        Effect.catchTag("SqlError", fromSql("recording the end of a build").SqlError)
      )

      const setLimit = Effect.fn("BuildRepository.setLimit")(
        (build: string, seconds: number) => sql`
          update attempt set limit_seconds = ${seconds}::integer from build, ${unsynced}
          where build.id = ${build} and attempt.id = current_attempt and outcome in ('timed-out', 'silent')`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("recording a limit").SqlError)
      )

      return { create, join, setState, beginAttempt, endAttempt, finish, setLimit }
    })
  )
}

const writtenIfAny = (rows: ReadonlyArray<unknown>): Written => (rows.length > 0 ? "written" : "superseded")

/** A text of PostgreSQL's holds every character but this one, and what a build's derivation says may have it. */
const storable = (said: string): string => said.replaceAll("\0", "\ufffd")
