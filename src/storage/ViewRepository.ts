/**
 * What each view sees of the store: under a path one object, and what it refers to.
 *
 * A view is a trust domain, an account say. A path is only what a client calls some contents, so two views may hold
 * different objects under one path, and each sees its own. Nothing is asked of a path without a view.
 *
 * The database guarantees that a view holds at most one object under a path, that the object bears this path and is of
 * a NAR that is kept with this hash and size, and that whatever it refers to is in the same view. The last is checked
 * at commit, so a closure may be given in any order and is taken whole or not at all. `add` sees to it that the first
 * object under a path stays, and that the references are those of that object.
 */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient, SqlSchema, type Statement } from "effect/sql"
import { ViewId } from "../domain/View.ts"
import { PathInfo } from "../protocol/nix/PathInfo.ts"
import { storeDir, StorePath } from "../protocol/nix/StorePath.ts"
import { fromSql, StorageError } from "./StorageError.ts"
import { type Addition, addOne, hashReferences, type NarRow } from "./view/AddOne.ts"
import * as StoredBytes from "./view/StoredBytes.ts"

/** A path as a view holds it. */
export class ViewEntry extends PathInfo.extend<ViewEntry>("drover/ViewEntry")({
  /** Built here, signed by a key the view trusts, or content-addressed and verified; otherwise only claimed. */
  assured: Schema.Boolean
}) {}

/** Some path refers to one that is neither in the view nor being added with it. */
export class DanglingReference extends Schema.TaggedError<DanglingReference>()("DanglingReference", {
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

export class ViewRepository extends Context.Service<
  ViewRepository,
  {
    /** All or none of the paths. Adding a path that the view holds changes nothing, whatever the contents. */
    readonly add: (
      view: ViewId,
      additions: ReadonlyArray<Addition>
    ) => Effect.Effect<void, DanglingReference | StorageError>
    /**
     * One path and its NAR in one round trip, the NAR only if the path is added. Answers false where nothing was done and
     * the NAR has to be committed first, which then says what is wrong, if anything is.
     */
    readonly addWithNar: (
      view: ViewId,
      addition: Addition,
      nar: NarRow
    ) => Effect.Effect<boolean, DanglingReference | StorageError>
    readonly find: (view: ViewId, path: StorePath) => Effect.Effect<Option.Option<ViewEntry>, StorageError>
    /** The path with this hash part: 32 characters. */
    readonly findByHashPart: (view: ViewId, hashPart: string) => Effect.Effect<Option.Option<ViewEntry>, StorageError>
    /** Those of the paths that the view holds, sorted. */
    readonly findMany: (
      view: ViewId,
      paths: ReadonlyArray<StorePath>
    ) => Effect.Effect<ReadonlyArray<ViewEntry>, StorageError>
    /** Those of the paths that the view holds, sorted. */
    readonly valid: (
      view: ViewId,
      paths: ReadonlyArray<StorePath>
    ) => Effect.Effect<ReadonlyArray<StorePath>, StorageError>
    /** Everything reachable from `roots` through references, roots included, of what the view holds; sorted. */
    readonly closure: (
      view: ViewId,
      roots: ReadonlyArray<StorePath>
    ) => Effect.Effect<ReadonlyArray<ViewEntry>, StorageError>
    /** Whatever in the view refers to the path; sorted. */
    readonly referrers: (view: ViewId, path: StorePath) => Effect.Effect<ReadonlyArray<StorePath>, StorageError>
    /** Every path in the view, sorted. */
    readonly all: (view: ViewId) => Effect.Effect<ReadonlyArray<StorePath>, StorageError>
    /** Adds to those that the path has. Signs nothing that the view does not hold. */
    readonly addSignatures: (
      view: ViewId,
      path: StorePath,
      signatures: ReadonlyArray<string>
    ) => Effect.Effect<void, StorageError>
    /** Bytes of the NARs of all that the view holds. */
    readonly storedBytes: (view: ViewId) => Effect.Effect<number, StorageError>
  }
>()("drover/storage/ViewRepository") {
  static readonly layer = Layer.effect(
    ViewRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const stored = StoredBytes.make(
        Effect.fn("ViewRepository.storedBytes")(
          (view: ViewId) => sql<{ readonly bytes: number }>`
            select coalesce(sum(nar_size), 0)::float8 as bytes from view_path join store_object on id = object
            where view = ${view}`,
          Effect.map(([row]) => row?.bytes ?? 0),
          Effect.catchTag("SqlError", fromSql("adding up what a view holds").SqlError)
        )
      )

      const addMany = Effect.fnUntraced(
        function* (view: ViewId, additions: ReadonlyArray<Addition>) {
          const infos = additions.map(({ info }) => info)
          const hashes = infos.map(({ references }) => hashReferences(references))
          const edges = infos.flatMap(({ path, references }, index) =>
            references.map((reference) => ({ path, hash: hashes[index], reference }))
          )
          // Absence is written as the empty string, which no path is: the driver cannot tell the type of an array of
          // nulls alone. Lists of signatures go as JSON, since they differ in length, which no array of arrays may.
          const info = sql`unnest(
              ${infos.map((info) => info.path)}::text[],
              ${infos.map((info) => info.narHash)}::text[],
              ${infos.map((info) => info.narSize)}::bigint[],
              ${hashes}::bytea[],
              ${infos.map((info) => info.contentAddress)}::text[],
              ${additions.map(({ assured }) => assured)}::boolean[],
              ${infos.map((info) => info.deriver ?? "")}::text[],
              ${infos.map((info) => info.ultimate)}::boolean[],
              ${infos.map((info) => JSON.stringify(info.signatures))}::text[]
            ) as info(path, nar_hash, nar_size, references_hash, ca, assured, deriver, ultimate, signatures)`

          // Sorted, so that two closures with objects in common cannot each wait for the other. Three
          // statements, so that each sees what other transactions have committed meanwhile.
          yield* sql`
            insert into store_object (path, nar_hash, nar_size, references_hash, ca)
            select path, decode(nar_hash, 'hex'), nar_size, references_hash, ca from ${info}
            order by 1, 2, 4, 5
            on conflict do nothing`.pipe(
            // Paths and hashes are checked before they come here: what is left is the NAR that must be committed first.
            Effect.catchReason("SqlError", "ConstraintError", (reason) => Effect.die(reason))
          )
          const [added] = yield* sql<{ readonly bytes: number }>`
            with added as (
              insert into view_path (view, path, object, assured, deriver, ultimate, signatures)
              select ${view}::uuid, path, id, assured, nullif(deriver, ''), ultimate,
                array(select jsonb_array_elements_text(signatures::jsonb))
              from ${info} join store_object using (path, references_hash, ca)
              where store_object.nar_hash = decode(info.nar_hash, 'hex')
              order by path
              on conflict do nothing returning object
            )
            select coalesce(sum(nar_size), 0)::float8 as bytes from added join store_object on id = object`
          const bytes = added?.bytes ?? 0
          if (edges.length === 0) return bytes
          yield* sql`
            insert into view_reference (view, referrer, reference)
            select view, path, reference
            from unnest(
              ${edges.map((edge) => edge.path)}::text[],
              ${edges.map((edge) => edge.hash)}::bytea[],
              ${edges.map((edge) => edge.reference)}::text[]
            ) as edge(path, references_hash, reference)
            join view_path using (path) join store_object using (path, references_hash)
            where view = ${view} and id = object
            on conflict do nothing`
          return bytes
        },
        sql.withTransaction,
        // Every other constraint already holds of any `PathInfo`.
        Effect.catchReason("SqlError", "ConstraintError", (reason) =>
          Effect.fail(new DanglingReference({ detail: missingIn(reason.cause) }))
        ),
        Effect.catchTag("SqlError", (cause) => Effect.fail(new StorageError({ operation: "adding paths", cause })))
      )

      const add = Effect.fn("ViewRepository.add")(function* (view: ViewId, additions: ReadonlyArray<Addition>) {
        const [first] = additions
        if (first === undefined) return
        const added = additions.length === 1 ? yield* addOne(sql, view, first, null) : null
        // Of a reference that is missing, the way for many says so.
        const isDone = added !== null && added.missing === null
        stored.added(view, isDone ? added.bytes : yield* addMany(view, additions))
      })

      const addWithNar = Effect.fn("ViewRepository.addWithNar")(function* (
        view: ViewId,
        addition: Addition,
        nar: NarRow
      ) {
        const added = yield* addOne(sql, view, addition, nar)
        if (added === null) return false
        if (added.missing !== null) return yield* new DanglingReference({ detail: danglingTo(added.missing) })
        stored.added(view, added.bytes)
        return true
      })

      /** `paths` selects the column `path`, of paths that need not be in the view. */
      const entries = (view: string, paths: Statement.Fragment) => sql`
        select path, deriver, encode(nar_hash, 'hex') as "narHash", nar_size::float8 as "narSize", ca as "contentAddress",
          floor(extract(epoch from registered_at))::float8 as "registrationTime", assured, ultimate, signatures,
          array(
            select reference::text from view_reference where view = ${view} and referrer = path order by reference
          ) as "references"
        from (${paths}) as asked join view_path using (path) join store_object using (path)
        where view = ${view} and id = object`

      const selectClosure = SqlSchema.findAll({
        Request: Asked,
        Result: ViewEntry,
        execute: ({ paths, view }) => sql`
          with recursive closure(path) as (
            select unnest(${paths}::text[])::store_path
            union
            select reference from view_reference join closure on referrer = closure.path where view = ${view}
          )
          ${entries(view, sql`select path from closure`)} order by path`
      })
      const closure = Effect.fn("ViewRepository.closure")(
        (view: ViewId, paths: ReadonlyArray<StorePath>) => selectClosure({ view, paths }),
        Effect.catchTags(fromSql("finding a closure"))
      )

      const selectMany = SqlSchema.findAll({
        Request: Asked,
        Result: ViewEntry,
        execute: ({ paths, view }) =>
          sql`${entries(view, sql`select distinct unnest(${paths}::text[])::store_path as path`)} order by path`
      })
      const findMany = Effect.fn("ViewRepository.findMany")(
        (view: ViewId, paths: ReadonlyArray<StorePath>) => selectMany({ view, paths }),
        Effect.catchTags(fromSql("finding paths"))
      )

      const find = Effect.fn("ViewRepository.find")(
        (view: ViewId, path: StorePath) => selectMany({ view, paths: [path] }),
        Effect.map((found) => Option.fromNullishOr(found[0])),
        Effect.catchTags(fromSql("finding a path"))
      )

      // A range, which the key's own index answers; "." is what follows "-" bytewise.
      const selectByHashPart = SqlSchema.findOneOption({
        Request: Schema.Struct({ view: ViewId, hashPart: Schema.String }),
        Result: ViewEntry,
        execute: ({ hashPart, view }) =>
          entries(
            view,
            sql`
            select path from view_path
            where view = ${view} and path >= ${`${hashPart}-`} and path < ${`${hashPart}.`} limit 1`
          )
      })
      const findByHashPart = Effect.fn("ViewRepository.findByHashPart")(
        (view: ViewId, hashPart: string) => selectByHashPart({ view, hashPart }),
        Effect.catchTags(fromSql("finding a path by its hash part"))
      )

      const selectValid = SqlSchema.findAll({
        Request: Asked,
        Result: PathRow,
        execute: ({ paths, view }) => sql`
          select distinct path from unnest(${paths}::text[]) as asked(path) join view_path using (path)
          where view = ${view} order by path`
      })
      const valid = Effect.fn("ViewRepository.valid")(
        (view: ViewId, paths: ReadonlyArray<StorePath>) => selectValid({ view, paths }),
        Effect.map(pathsOf),
        Effect.catchTags(fromSql("finding valid paths"))
      )

      const selectReferrers = SqlSchema.findAll({
        Request: Schema.Struct({ view: ViewId, path: StorePath }),
        Result: PathRow,
        execute: ({ path, view }) => sql`
          select referrer as path from view_reference where view = ${view} and reference = ${path} order by referrer`
      })
      const referrers = Effect.fn("ViewRepository.referrers")(
        (view: ViewId, path: StorePath) => selectReferrers({ view, path }),
        Effect.map(pathsOf),
        Effect.catchTags(fromSql("finding referrers"))
      )

      const selectAll = SqlSchema.findAll({
        Request: ViewId,
        Result: PathRow,
        execute: (view) => sql`select path from view_path where view = ${view} order by path`
      })
      const all = Effect.fn("ViewRepository.all")(
        selectAll,
        Effect.map(pathsOf),
        Effect.catchTags(fromSql("listing a view"))
      )

      const addSignatures = Effect.fn("ViewRepository.addSignatures")(
        (view: ViewId, path: StorePath, signatures: ReadonlyArray<string>) => sql`
          update view_path
          set signatures = array(select distinct unnest(signatures || ${signatures}::text[]) order by 1)
          where view = ${view} and path = ${path}`,
        Effect.asVoid,
        Effect.catchTag("SqlError", fromSql("adding signatures").SqlError)
      )

      return {
        add,
        addWithNar,
        find,
        findByHashPart,
        findMany,
        valid,
        closure,
        referrers,
        all,
        addSignatures,
        storedBytes: stored.of
      }
    })
  )
}

const Asked = Schema.Struct({ view: ViewId, paths: Schema.Array(StorePath) })
const PathRow = Schema.Struct({ path: StorePath })
const pathsOf = (rows: ReadonlyArray<typeof PathRow.Type>): ReadonlyArray<StorePath> => rows.map(({ path }) => path)

/** PostgreSQL says `Key (view, reference)=(…, …) is not present`; a client may know of the path, and not of the view. */
const missingIn = (cause: unknown): string => {
  const detail = typeof cause === "object" && cause !== null && "detail" in cause ? String(cause.detail) : ""
  const path = /, ([^,)]+)\) is not present/.exec(detail)?.[1]
  return path === undefined ? "a reference is not valid" : danglingTo(path)
}

const danglingTo = (path: string) => `the reference '${storeDir}/${path}' is not valid`
