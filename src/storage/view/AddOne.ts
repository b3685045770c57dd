/**
 * One path in one round trip, with its NAR where that is a row: what an old client waits for after each of its uploads.
 *
 * The statement looks before it writes: what the view holds already, and what refers to something that the view does
 * not hold, leaves nothing behind, the NAR neither. Whatever it writes becomes durable together.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { createHash } from "node:crypto"
import type { ViewId } from "../../domain/View.ts"
import type { PathInfo } from "../../protocol/nix/PathInfo.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import { fromSql } from "../StorageError.ts"

export interface Addition {
  /** Its time of registration is not taken; that of the addition is. */
  readonly info: PathInfo
  readonly assured: boolean
}

/** A small NAR as the table holds it. */
export interface NarRow {
  /** The text of its `.ls` file, deflated. */
  readonly listing: Uint8Array
  readonly contents: Uint8Array
}

export interface Added {
  /** Bytes that were new to the view. */
  readonly bytes: number
  /** The first reference that the view does not hold; then nothing was done. */
  readonly missing: StorePath | null
}

/** References are a set: sorted, each once. */
export const hashReferences = (references: ReadonlyArray<StorePath>): Uint8Array =>
  createHash("sha256")
    .update([...new Set(references)].sort().join(" "))
    .digest()

/**
 * `nar`: null where it is committed already. Answers null where nothing was done, because another transaction has just
 * made the same object, which the statement cannot see; or a constraint stood against it, of which the way for many
 * says what is wrong.
 */
export const addOne = (sql: SqlClient.SqlClient, view: ViewId, { assured, info }: Addition, nar: NarRow | null) =>
  sql<{ readonly missing: StorePath | null; readonly done: boolean; readonly isNew: boolean }>`
    with asked as (
      select exists (select from view_path where view = ${view} and path = ${info.path}) as held, (
        select reference from unnest(${info.references}::text[]) with ordinality as each(reference, place)
        where reference <> ${info.path}::text
          and not exists (select from view_path where view = ${view} and path = reference)
        order by place limit 1
      ) as missing
    ), wanted as (
      select from asked where missing is null and not held
    ), ${nar === null ? sql`` : kept(sql, info, nar)} made as (
      insert into store_object (path, nar_hash, nar_size, references_hash, ca)
      select path, decode(nar_hash, 'hex'), nar_size, references_hash, ca from wanted, (select
        ${info.path}::text, ${info.narHash}::text, ${info.narSize}::bigint,
        ${hashReferences(info.references)}::bytea, ${info.contentAddress}::text
      ) as info(path, nar_hash, nar_size, references_hash, ca)
      on conflict do nothing returning id
    ), object as (
      select id from made
      union all
      select id from store_object
      where path = ${info.path} and nar_hash = decode(${info.narHash}, 'hex')
        and references_hash = ${hashReferences(info.references)} and ca = ${info.contentAddress}
    ), added as (
      insert into view_path (view, path, object, assured, deriver, ultimate, signatures)
      select ${view}::uuid, ${info.path}, id, ${assured}::boolean, nullif(${info.deriver ?? ""}::text, ''),
        ${info.ultimate}::boolean, ${info.signatures}::text[]
      from wanted, object
      on conflict do nothing returning view, path
    ), edges as (
      insert into view_reference (view, referrer, reference)
      select view, path, reference from added, unnest(${info.references}::text[]) as reference
      on conflict do nothing
    )
    select missing, held or exists (select from object) as done, exists (select from added) as "isNew" from asked`.pipe(
    Effect.map(([row]): Added | null => {
      if (row === undefined) return null
      if (row.missing !== null) return { bytes: 0, missing: row.missing }
      return row.done ? { bytes: row.isNew ? info.narSize : 0, missing: null } : null
    }),
    Effect.catchReason("SqlError", "ConstraintError", () => Effect.succeed(null)),
    Effect.catchTag("SqlError", fromSql("adding a path").SqlError)
  )

const kept = (sql: SqlClient.SqlClient, { narHash, narSize }: PathInfo, { contents, listing }: NarRow) => sql`
    kept as (
      insert into nar (hash, size, listing, contents)
      select decode(${narHash}, 'hex'), ${narSize}::bigint, ${listing}::bytea, ${contents}::bytea from wanted
      on conflict do nothing
    ),`
