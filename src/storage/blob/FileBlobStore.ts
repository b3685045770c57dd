/**
 * Blobs as files: `<data>/nars/<first two digits>/<hash>.nar`, drafts under `<data>/nars/tmp`.
 *
 * All on one file system, so that a draft gets its name by a rename. It is on disk before it gets it, and the directory
 * after: whatever has a name is whole. Drafts that a crash left are removed at the next start.
 */
import { Effect, Layer, Schema, Semaphore, Stream } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { Sha256 } from "../../protocol/nix/Hash.ts"
import { file, MissingNar, StorageError } from "../StorageError.ts"
import { BlobStore, type Draft } from "./BlobStore.ts"
import * as Buffers from "./Buffers.ts"
import * as FileDraft from "./FileDraft.ts"
import * as FileSource from "./FileSource.ts"

/** What is read at once: fewer calls than that buy nothing. */
const readBytes = 1024 * 1024

/** What is written at once. Each upload under way holds one or two. */
const writeBytes = 256 * 1024

/** Calls under way together: as many as the thread pool is meant to have threads. */
const concurrency = 16

const shards = Array.from({ length: 256 }, (_, index) => index.toString(16).padStart(2, "0"))
const isSha256 = Schema.is(Sha256)

export const layer = (dataDirectory: string): Layer.Layer<BlobStore, StorageError> =>
  Layer.effect(BlobStore, make(path.resolve(dataDirectory, "nars")))

const make = Effect.fnUntraced(function* (directory: string) {
  yield* prepare(directory)
  const readBuffers = Buffers.make(readBytes, 8)
  const drafts = { buffers: Buffers.make(writeBytes, 16), writes: yield* Semaphore.make(concurrency) }
  const nameOf = (key: Sha256) => path.join(directory, key.slice(0, 2), `${key}.nar`)

  const openAt = Effect.fnUntraced(function* (name: string) {
    const handle = yield* opened(name)
    const { size } = yield* file("reading a blob", name, () => handle.stat())
    // A small file would leave most of a large buffer unused.
    const buffer =
      size < readBytes / 8
        ? Buffer.allocUnsafe(size)
        : yield* Effect.acquireRelease(Effect.sync(readBuffers.take), (buffer) =>
            Effect.sync(() => readBuffers.give(buffer))
          )
    return { size, source: FileSource.make(handle, { name, size, buffer }) }
  })

  const files = new WeakMap<Draft, FileDraft.FileDraft>()

  const draft = Effect.gen(function* () {
    const written = yield* FileDraft.make(drafts, path.join(directory, "tmp", randomUUID()))
    const { end, flush, take } = written
    const read = Effect.gen(function* () {
      yield* written.settled
      return (yield* openAt(written.name)).source
    })
    const draft: Draft = { take, flush, end, read }
    files.set(draft, written)
    return draft
  })

  const put = Effect.fn("FileBlobStore.put")(function* (
    drafts: ReadonlyArray<{ readonly draft: Draft; readonly key: Sha256 }>
  ) {
    const moves = drafts.flatMap(({ draft, key }) => {
      const written = files.get(draft)
      return written === undefined ? [] : [{ written, to: nameOf(key) }]
    })
    if (moves.length < drafts.length) return yield* Effect.die(new Error("a draft was made by another store"))
    yield* Effect.forEach(
      moves,
      ({ written }) =>
        Effect.andThen(
          written.settled,
          sync(written.name, (handle) => handle.datasync())
        ),
      { concurrency, discard: true }
    )
    yield* Effect.forEach(
      moves,
      ({ to, written }) =>
        file("naming a blob", to, async () => {
          await fs.rename(written.name, to)
          written.name = to
        }),
      { concurrency, discard: true }
    )
    const directories = new Set(moves.map(({ to }) => path.dirname(to)))
    yield* Effect.forEach(directories, (directory) => sync(directory, (handle) => handle.sync()), {
      concurrency,
      discard: true
    })
  }, Effect.uninterruptible)

  const get = Effect.fnUntraced(function* (key: Sha256) {
    return yield* openAt(nameOf(key)).pipe(
      Effect.catchTag("StorageError", (error) =>
        Effect.fail(
          error.cause._tag === "FileError" && error.cause.code === "ENOENT"
            ? new StorageError({ operation: "reading a blob", cause: new MissingNar({ narHash: key }) })
            : error
        )
      )
    )
  })

  const has = (key: Sha256) =>
    file("finding a blob", nameOf(key), () =>
      fs.access(nameOf(key)).then(
        () => true,
        () => false
      )
    )

  const fileOf = (key: Sha256) => Effect.succeed(nameOf(key))

  const remove = (key: Sha256) => file("deleting a blob", nameOf(key), () => fs.rm(nameOf(key), { force: true }))

  const keys = Stream.fromIterable(shards).pipe(
    Stream.mapEffect((shard) => {
      const name = path.join(directory, shard)
      return file("listing blobs", name, () => fs.readdir(name))
    }),
    Stream.flatMap((names) => Stream.fromIterable(names.map((name) => name.replace(/\.nar$/, "")))),
    Stream.filter(isSha256)
  )

  return { draft, put, get, has, file: fileOf, delete: remove, keys }
})

const opened = (name: string) =>
  Effect.acquireRelease(
    file("opening a blob", name, () => fs.open(name, "r")),
    (handle) => Effect.promise(() => handle.close().catch(() => {}))
  )

/** Hands what was written under this name to the disk. */
const sync = (name: string, call: (handle: fs.FileHandle) => Promise<void>) =>
  Effect.scoped(Effect.flatMap(opened(name), (handle) => file("syncing a blob", name, () => call(handle))))

/** For whoever is shown this directory. The data directory around it lets nobody else come here. */
const directoryMode = 0o755

/** All directories are made at the first start, so that no upload must make one durable. */
const prepare = Effect.fnUntraced(function* (directory: string) {
  yield* file("preparing the blobs", directory, async () => {
    await fs.rm(path.join(directory, "tmp"), { recursive: true, force: true })
    await fs.mkdir(path.join(directory, "tmp"), { recursive: true, mode: 0o700 })
    await fs.chmod(directory, directoryMode)
    await Promise.all(
      shards.map((shard) => fs.mkdir(path.join(directory, shard), { recursive: true, mode: directoryMode }))
    )
  })
  yield* sync(directory, (handle) => handle.sync())
})
