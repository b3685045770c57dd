/**
 * NARs by hash: verified on the way in, whole and durable before anyone is told of them.
 *
 * `receive` reads exactly one NAR from a source, which may go on after it. What it returns belongs to the caller's
 * scope; `commit` makes a group of them permanent. Committing one that is known already is free. Its rows are on disk
 * with the next commit of any other transaction, which is that of whoever then tells of the NAR: one sync for both.
 *
 * A small NAR is kept in its row, a large one as a blob. The row comes last: a NAR that has one is whole and on disk,
 * and a blob without one is of a crash, and removed at the next start.
 */
import { Context, Effect, Layer, Schema, type Scope, Stream } from "effect"
import { SqlClient, SqlSchema } from "effect/sql"
import { promisify } from "node:util"
import * as zlib from "node:zlib"
import type { ReceivedNar, Watch } from "../domain/ReceivedNar.ts"
import { type Listing, parseJson, printJson } from "../protocol/nar/Listing.ts"
import { Sha256 } from "../protocol/nix/Hash.ts"
import { WireError } from "../protocol/wire/Codec.ts"
import * as Source from "../protocol/wire/Source.ts"
import { BlobStore, type Draft } from "./blob/BlobStore.ts"
import * as GroupCommit from "./blob/GroupCommit.ts"
import { NarVerifier } from "./NarVerifier.ts"
import { Damaged, fromSql, MissingNar, StorageError } from "./StorageError.ts"
import type { NarRow } from "./view/AddOne.ts"

/** A NAR of at most so many bytes is kept in its row: a file would cost more than the bytes. */
const rowBytesMax = 16 * 1024

/** What one round of commits makes durable together, at most, beyond one caller's own. */
const roundNarsMax = 2000

/** A listing of at most so many bytes is packed at once; a longer one not while everybody waits. */
const packedAtOnceMax = 64 * 1024

export class NarStore extends Context.Service<
  NarStore,
  {
    /** Fails with `WireError` where the bytes are no NAR, or more than `sizeMax` bytes. */
    readonly receive: <E, R>(
      source: Source.Source<E, R>,
      options?: Watch & { readonly sizeMax?: number }
    ) => Effect.Effect<ReceivedNar, E | WireError | StorageError, R | Scope.Scope>
    /** The bytes of one that was received and may not be committed yet. */
    readonly reread: (nar: ReceivedNar) => Effect.Effect<Source.Source<StorageError>, StorageError, Scope.Scope>
    /** The row of a small one, for whoever commits it with what tells of it; null for a large one. */
    readonly row: (nar: ReceivedNar) => Effect.Effect<NarRow | null>
    /** All or none. To be called within the scope they were received in. */
    readonly commit: (nars: ReadonlyArray<ReceivedNar>) => Effect.Effect<void, StorageError>
    readonly open: (narHash: Sha256) => Effect.Effect<Source.Source<StorageError>, StorageError, Scope.Scope>
    readonly listing: (narHash: Sha256) => Effect.Effect<Listing, StorageError>
    /** Where the bytes of each lie, and its listing as it is kept: one for each hash, in its order. */
    readonly locate: (narHashes: ReadonlyArray<Sha256>) => Effect.Effect<ReadonlyArray<Located>, StorageError>
  }
>()("drover/storage/NarStore") {
  static readonly layer = Layer.effect(
    NarStore,
    Effect.suspend(() => make)
  )
}

/** A NAR for a reader that is another process. */
export interface Located {
  readonly narHash: Sha256
  /** The text of its `.ls` file, deflated. */
  readonly listing: Uint8Array
  readonly contents:
    | { readonly _tag: "File"; readonly path: string }
    | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
}

/** Where the bytes of one lie that has been received. */
type Kept = { readonly _tag: "Row"; readonly bytes: Uint8Array } | { readonly _tag: "Blob"; readonly draft: Draft }

interface Pending {
  readonly nar: ReceivedNar
  readonly kept: Kept
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const blobs = yield* BlobStore
  const received = new WeakMap<ReceivedNar, Kept>()
  yield* removeUnregistered

  const receive = Effect.fnUntraced(function* <E, R>(
    source: Source.Source<E, R>,
    options: Watch & { readonly sizeMax?: number } = {}
  ) {
    const verifier = new NarVerifier(options)
    const small: Array<Uint8Array> = []
    let draft: Draft | null = null
    while (!verifier.done) {
      const chunk = yield* source.peek
      const used = yield* read(() => verifier.push(chunk))
      if (draft === null && verifier.size > rowBytesMax) {
        draft = yield* blobs.draft
        for (const part of small.splice(0)) yield* write(draft, part)
      }
      // A chunk is the source's, and gone with the next.
      if (draft === null) small.push(new Uint8Array(chunk.subarray(0, used)))
      else yield* write(draft, chunk.subarray(0, used))
      source.advance(used)
    }
    if (draft !== null) yield* draft.end
    const nar = verifier.result()
    received.set(nar, draft === null ? { _tag: "Row", bytes: Buffer.concat(small) } : { _tag: "Blob", draft })
    return nar
  })

  const keptOf = (nar: ReceivedNar) => {
    const kept = received.get(nar)
    return kept === undefined ? Effect.die(new Error(`NAR ${nar.narHash} was not received here`)) : Effect.succeed(kept)
  }

  const reread = Effect.fnUntraced(function* (nar: ReceivedNar) {
    const kept = yield* keptOf(nar)
    return kept._tag === "Row" ? Source.fromChunks([kept.bytes]) : yield* kept.draft.read
  })

  const row = Effect.fnUntraced(function* (nar: ReceivedNar) {
    const kept = yield* keptOf(nar)
    return kept._tag === "Row" ? { listing: yield* pack(nar.listing), contents: kept.bytes } : null
  })

  const insert = Effect.fnUntraced(
    function* (pending: ReadonlyArray<Pending>) {
      const listings = yield* Effect.forEach(pending, ({ nar }) => pack(nar.listing))
      // An empty value is of a blob: no NAR is empty, and the driver cannot tell the type of an array of nulls alone.
      yield* sql`
        insert into nar (hash, size, listing, contents)
        select decode(hash, 'hex'), size, listing, nullif(contents, '')
        from unnest(
          ${pending.map(({ nar }) => nar.narHash)}::text[],
          ${pending.map(({ nar }) => nar.narSize)}::bigint[],
          ${listings}::bytea[],
          ${pending.map(({ kept }) => (kept._tag === "Row" ? kept.bytes : new Uint8Array(0)))}::bytea[]
        ) as nar(hash, size, listing, contents), (select set_config('synchronous_commit', 'off', true)) as unsynced
        order by 1
        on conflict do nothing`
    },
    Effect.catchTag("SqlError", fromSql("committing NARs").SqlError)
  )

  const group = yield* GroupCommit.make<Pending, StorageError>(
    Effect.fn("NarStore.commit")(function* (pending) {
      const byHash = new Map(pending.map((one) => [one.nar.narHash, one]))
      // A row that is there already costs less than asking for it; a file does not.
      const asked = [...byHash.values()].flatMap(({ kept, nar }) => (kept._tag === "Blob" ? [nar.narHash] : []))
      const known = asked.length === 0 ? [] : yield* selectKnown(asked)
      for (const { hash } of known) byHash.delete(hash)
      const fresh = [...byHash.values()]
      if (fresh.length === 0) return
      yield* blobs.put(
        fresh.flatMap(({ kept, nar }) => (kept._tag === "Blob" ? [{ draft: kept.draft, key: nar.narHash }] : []))
      )
      yield* insert(fresh)
    }),
    roundNarsMax
  )

  const commit = Effect.fnUntraced(function* (nars: ReadonlyArray<ReceivedNar>) {
    if (nars.length === 0) return
    const pending = yield* Effect.forEach(nars, (nar) => Effect.map(keptOf(nar), (kept) => ({ nar, kept })))
    yield* group.commit(pending)
  })

  const selectKnown = (hashes: ReadonlyArray<Sha256>) =>
    knownAmong(sql)(hashes).pipe(Effect.catchTags(fromSql("finding NARs")))

  const selectContents = SqlSchema.findAll({
    Request: Sha256,
    Result: Schema.Struct({ size: Schema.Int, contents: Schema.NullOr(Schema.Uint8Array) }),
    execute: (hash) => sql`select size::float8, contents from nar where hash = ${Buffer.from(hash, "hex")}`
  })
  const open = Effect.fnUntraced(function* (narHash: Sha256) {
    const [row] = yield* Effect.catchTags(selectContents(narHash), fromSql("opening a NAR"))
    if (row === undefined) return yield* missing("opening a NAR", narHash)
    if (row.contents !== null) return Source.fromChunks([row.contents])
    const { size, source } = yield* blobs.get(narHash)
    if (size !== row.size) return yield* damaged(`NAR ${narHash}`, `${row.size} bytes`, `${size}`)
    return source
  })

  const selectListing = SqlSchema.findAll({
    Request: Sha256,
    Result: Schema.Struct({ listing: Schema.Uint8Array }),
    execute: (hash) => sql`select listing from nar where hash = ${Buffer.from(hash, "hex")}`
  })
  const listing = Effect.fn("NarStore.listing")(function* (narHash: Sha256) {
    const [row] = yield* Effect.catchTags(selectListing(narHash), fromSql("reading a listing"))
    if (row === undefined) return yield* missing("reading a listing", narHash)
    return yield* unpack(narHash, row.listing)
  })

  const selectLocations = SqlSchema.findAll({
    Request: Schema.Array(Sha256),
    Result: Schema.Struct({ hash: Sha256, listing: Schema.Uint8Array, contents: Schema.NullOr(Schema.Uint8Array) }),
    execute: (hashes) => sql`
      select encode(hash, 'hex') as hash, listing, contents
      from nar where hash in (select decode(unnest(${hashes}::text[]), 'hex'))`
  })
  const locate = Effect.fn("NarStore.locate")(function* (narHashes: ReadonlyArray<Sha256>) {
    const rows = yield* Effect.catchTags(selectLocations(narHashes), fromSql("locating NARs"))
    const byHash = new Map(rows.map((row) => [row.hash, row]))
    return yield* Effect.forEach(narHashes, (narHash) => {
      const row = byHash.get(narHash)
      if (row === undefined) return Effect.fail(missing("locating NARs", narHash))
      const { contents: bytes, listing } = row
      if (bytes !== null) return Effect.succeed<Located>({ narHash, listing, contents: { _tag: "Bytes", bytes } })
      return Effect.map(blobs.file(narHash), (path): Located => ({
        narHash,
        listing,
        contents: { _tag: "File", path }
      }))
    })
  })

  return { receive, reread, row, commit, open, listing, locate }
})

const knownAmong = (sql: SqlClient.SqlClient) =>
  SqlSchema.findAll({
    Request: Schema.Array(Sha256),
    Result: Schema.Struct({ hash: Sha256 }),
    execute: (hashes) => sql`
      select encode(hash, 'hex') as hash
      from nar where hash in (select decode(unnest(${hashes}::text[]), 'hex'))`
  })

/** Blobs that were put and not registered. At the start nobody is just between the two. */
const removeUnregistered = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const blobs = yield* BlobStore
  yield* blobs.keys.pipe(
    Stream.grouped(10_000),
    Stream.runForEach(
      Effect.fnUntraced(function* (keys) {
        const known = yield* Effect.catchTags(knownAmong(sql)(keys), fromSql("finding NARs"))
        const registered = new Set(known.map(({ hash }) => hash))
        yield* Effect.forEach(
          keys.filter((key) => !registered.has(key)),
          blobs.delete
        )
      })
    )
  )
}).pipe(Effect.withSpan("NarStore.removeUnregistered"))

/** Runs a part of a reader, which throws what it refuses. */
const read = <A>(run: () => A): Effect.Effect<A, WireError> =>
  Effect.try({
    try: run,
    catch: (error) => {
      if (error instanceof WireError) return error
      throw error
    }
  })

const write = Effect.fnUntraced(function* (draft: Draft, bytes: Uint8Array) {
  for (let taken = draft.take(bytes); taken < bytes.length; taken += draft.take(bytes.subarray(taken))) {
    yield* draft.flush
  }
})

const deflate = promisify(zlib.deflateRaw)
const inflate = promisify(zlib.inflateRaw)

const pack = (listing: Listing): Effect.Effect<Uint8Array> =>
  Effect.suspend(() => {
    const text = printJson(listing)
    const isShort = text.length <= packedAtOnceMax
    return isShort ? Effect.succeed(zlib.deflateRawSync(text)) : Effect.promise(() => deflate(text))
  })

const unpack = Effect.fnUntraced(function* (narHash: Sha256, packed: Uint8Array) {
  const what = `the listing of NAR ${narHash}`
  const text = yield* Effect.tryPromise({
    try: () => inflate(packed),
    catch: (error) => damaged(what, "deflated JSON", String(error))
  })
  const listing = parseJson(text.toString())
  return listing instanceof WireError ? yield* damaged(what, listing.expected, listing.found) : listing
})

const missing = (operation: string, narHash: Sha256) =>
  new StorageError({ operation, cause: new MissingNar({ narHash }) })

const damaged = (what: string, expected: string, found: string) =>
  new StorageError({ operation: "reading a NAR", cause: new Damaged({ what, expected, found }) })
