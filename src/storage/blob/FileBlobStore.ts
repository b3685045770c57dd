/**
 * Blobs as files: `<data>/nars/<first two digits>/<hash>.nar`, drafts under `<data>/nars/tmp`.
 *
 * All on one file system, so that a draft gets its name by a rename. It is on disk before it gets it, and the directory
 * after: whatever has a name is whole. Drafts that a crash left are removed at the next start.
 */
import { Effect, Exit, Layer, Schema, Scope, Stream } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { Sha256 } from "../../protocol/nix/Hash.ts"
import { file, MissingNar, StorageError } from "../StorageError.ts"
import { BlobStore, type Draft } from "./BlobStore.ts"
import * as Buffers from "./Buffers.ts"
import * as FileSource from "./FileSource.ts"

/** What is read at once: fewer calls than that buy nothing. */
const readBytes = 1024 * 1024

/** What is written at once. Each upload under way holds one. */
const writeBytes = 512 * 1024

/** Calls under way together: as many as the thread pool is meant to have threads. */
const concurrency = 16

const shards = Array.from({ length: 256 }, (_, index) => index.toString(16).padStart(2, "0"))
const isSha256 = Schema.is(Sha256)

export const layer = (dataDirectory: string): Layer.Layer<BlobStore, StorageError> =>
  Layer.effect(BlobStore, make(path.join(dataDirectory, "nars")))

const make = Effect.fnUntraced(function* (directory: string) {
  yield* prepare(directory)
  const readBuffers = Buffers.make(readBytes, 8)
  const writeBuffers = Buffers.make(writeBytes, 8)
  const nameOf = (key: Sha256) => path.join(directory, key.slice(0, 2), `${key}.nar`)

  const openAt = Effect.fnUntraced(function* (name: string) {
    const handle = yield* opened(name, "r")
    const { size } = yield* file("reading a blob", name, () => handle.stat())
    // A small file would leave most of a large buffer unused, and cost its clearing.
    const buffer = size < readBytes / 8 ? Buffer.allocUnsafe(size) : yield* readBuffers.borrow
    return { size, source: FileSource.make(handle, { name, size, buffer }) }
  })

  /** Where the drafts of this store are; a draft that was put is where it was put. */
  const names = new WeakMap<Draft, string>()

  const draft = Effect.gen(function* () {
    const name = path.join(directory, "tmp", randomUUID())
    yield* Effect.addFinalizer(() =>
      // One that was put has another name by now.
      Effect.promise(() => fs.rm(name, { force: true }).catch(() => {}))
    )
    // Many drafts wait to be put together: each has a descriptor and a buffer only while it is written.
    const writing = yield* Scope.fork(yield* Effect.scope)
    const buffer = yield* Scope.provide(writeBuffers.borrow, writing)
    const handle = yield* Scope.provide(opened(name, "wx"), writing)
    let filled = 0
    const flush = file("writing a blob", name, async () => {
      for (let written = 0; written < filled;) {
        written += (await handle.write(buffer, written, filled - written)).bytesWritten
      }
      filled = 0
    })
    const draft: Draft = {
      take: (bytes) => {
        const part = bytes.subarray(0, buffer.length - filled)
        buffer.set(part, filled)
        filled += part.length
        return part.length
      },
      flush,
      end: Effect.andThen(flush, Scope.close(writing, Exit.void)),
      read: Effect.suspend(() => Effect.map(openAt(names.get(draft) ?? name), ({ source }) => source))
    }
    names.set(draft, name)
    return draft
  })

  const put = Effect.fn("FileBlobStore.put")(function* (
    drafts: ReadonlyArray<{ readonly draft: Draft; readonly key: Sha256 }>
  ) {
    const moves = drafts.map(({ draft, key }) => ({ draft, from: names.get(draft), to: nameOf(key) }))
    yield* Effect.forEach(moves, ({ from = "a draft of another store" }) => sync(from, (handle) => handle.datasync()), {
      concurrency
    })
    yield* Effect.forEach(
      moves,
      ({ draft, from = "", to }) =>
        Effect.andThen(
          file("naming a blob", to, () => fs.rename(from, to)),
          Effect.sync(() => names.set(draft, to))
        ),
      { concurrency }
    )
    const directories = new Set(moves.map(({ to }) => path.dirname(to)))
    yield* Effect.forEach(directories, (directory) => sync(directory, (handle) => handle.sync()), { concurrency })
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

  const remove = (key: Sha256) => file("deleting a blob", nameOf(key), () => fs.rm(nameOf(key), { force: true }))

  const keys = Stream.fromIterable(shards).pipe(
    Stream.mapEffect((shard) => {
      const name = path.join(directory, shard)
      return file("listing blobs", name, () => fs.readdir(name))
    }),
    Stream.flatMap((names) => Stream.fromIterable(names.map((name) => name.replace(/\.nar$/, "")))),
    Stream.filter(isSha256)
  )

  return { draft, put, get, has, delete: remove, keys }
})

const opened = (name: string, flags: "r" | "wx") =>
  Effect.acquireRelease(
    file("opening a blob", name, () => fs.open(name, flags, 0o600)),
    (handle) => Effect.promise(() => handle.close().catch(() => {}))
  )

/** Hands what was written under this name to the disk. */
const sync = (name: string, call: (handle: fs.FileHandle) => Promise<void>) =>
  Effect.scoped(Effect.flatMap(opened(name, "r"), (handle) => file("syncing a blob", name, () => call(handle))))

/** All directories are made at the first start, so that no upload must make one durable. */
const prepare = Effect.fnUntraced(function* (directory: string) {
  yield* file("preparing the blobs", directory, async () => {
    await fs.rm(path.join(directory, "tmp"), { recursive: true, force: true })
    await fs.mkdir(path.join(directory, "tmp"), { recursive: true, mode: 0o700 })
    await Promise.all(shards.map((shard) => fs.mkdir(path.join(directory, shard), { recursive: true, mode: 0o700 })))
  })
  yield* sync(directory, (handle) => handle.sync())
})
