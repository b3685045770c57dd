/**
 * The logs of attempts: appended to while the builder runs, and read meanwhile by whoever waits, from the first byte.
 *
 * A log is a file. What has been appended is in the system's hands before the next is asked for, so nothing is lost
 * with the server, and with the machine at most the last moment; and nothing is held in memory, for a reader that is
 * slow reads from the file what was written long ago. It holds the builder's bytes and nothing else.
 */
import { Context, Deferred, Effect, Layer, Option, type Scope, Stream } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import type { AttemptId } from "../domain/Attempt.ts"
import { file, type StorageError } from "./StorageError.ts"

/** What one reader holds of a log at a time. */
const chunkBytes = 64 * 1024

export declare namespace LogStore {
  export interface Log {
    /** All of it or, if it fails, none, and it may be tried again. One at a time. */
    readonly append: (bytes: Uint8Array) => Effect.Effect<void, StorageError>
    /** Nothing more comes: readers end once they have read all. */
    readonly end: Effect.Effect<void>
  }
}

export class LogStore extends Context.Service<
  LogStore,
  {
    /** A new log. It has ended when the scope closes, if not before, and then it is on disk. */
    readonly open: (attempt: AttemptId) => Effect.Effect<LogStore.Log, StorageError, Scope.Scope>
    /** All of a log from its first byte, whenever one comes; ends when the log has. */
    readonly follow: (attempt: AttemptId) => Stream.Stream<Uint8Array, StorageError>
    /** How long a log is by now; null if there is none. */
    readonly size: (attempt: AttemptId) => Effect.Effect<number | null, StorageError>
  }
>()("drover/storage/LogStore") {
  static readonly layer = (dataDirectory: string): Layer.Layer<LogStore> =>
    Layer.sync(LogStore, () => make(path.join(dataDirectory, "logs")))
}

/** How far a log is that is still written. */
interface Growing {
  size: number
  ended: boolean
  /** Completed, and replaced by another, with every change of the above. */
  changed: Deferred.Deferred<void>
}

const make = (directory: string): LogStore["Service"] => {
  const growing = new Map<AttemptId, Growing>()

  // The last characters of a UUIDv7 are random; the first are the same for days.
  const nameOf = (attempt: AttemptId) => path.join(directory, attempt.slice(-2), attempt)

  const change = (state: Growing, by: Partial<Growing>) => {
    const { changed } = state
    Object.assign(state, by, { changed: Deferred.makeUnsafe<void>() })
    Deferred.doneUnsafe(changed, Effect.void)
  }

  const open = Effect.fn("LogStore.open")(function* (attempt: AttemptId) {
    const name = nameOf(attempt)
    const state: Growing = { size: 0, ended: false, changed: Deferred.makeUnsafe<void>() }
    const handle = yield* Effect.acquireRelease(
      file("opening a log", name, async () => {
        await fs.mkdir(path.dirname(name), { recursive: true, mode: 0o700 })
        const handle = await fs.open(name, "wx", 0o600)
        growing.set(attempt, state)
        return handle
      }),
      (handle) =>
        Effect.promise(() => {
          change(state, { ended: true })
          growing.delete(attempt)
          const close = () => handle.close()
          return handle
            .datasync()
            .then(close, close)
            .catch(() => {})
        })
    )
    const append = (bytes: Uint8Array) =>
      file("writing a log", name, async () => {
        try {
          // The system may take less than it is given.
          for (let written = 0; written < bytes.length;) {
            const place = state.size + written
            written += (await handle.write(bytes, written, bytes.length - written, place)).bytesWritten
          }
        } catch (error) {
          // What the disk took before it was full is no part of the log: whoever tries again brings it again.
          await handle.truncate(state.size)
          throw error
        }
        change(state, { size: state.size + bytes.length })
      })
    const end = Effect.sync(() => {
      if (state.ended) return
      change(state, { ended: true })
      growing.delete(attempt)
    })
    return { append, end }
  })

  const follow = (attempt: AttemptId) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const name = nameOf(attempt)
        const handle = yield* Effect.acquireRelease(
          file("reading a log", name, () => fs.open(name, "r")),
          (handle) => Effect.promise(() => handle.close().catch(() => {}))
        )
        // Asked first: a log that has ended since then is as long as it was, one that ends meanwhile says so itself.
        const live = growing.get(attempt)
        const size = yield* file("reading a log", name, async () => (await handle.stat()).size)
        const state = live ?? { size, ended: true, changed: Deferred.makeUnsafe<void>() }

        const read = Effect.fnUntraced(function* (offset: number) {
          while (offset === state.size && !state.ended) yield* Deferred.await(state.changed)
          const length = Math.min(chunkBytes, state.size - offset)
          if (length <= 0) return [[], Option.none<number>()] as const
          const { buffer, bytesRead } = yield* file("reading a log", name, () =>
            handle.read(Buffer.allocUnsafe(length), 0, length, offset)
          )
          if (bytesRead === 0) return [[], Option.none<number>()] as const
          return [[buffer.subarray(0, bytesRead)], Option.some(offset + bytesRead)] as const
        })
        return Stream.paginate(0, read)
      })
    )

  const size = (attempt: AttemptId) =>
    file("looking at a log", nameOf(attempt), () => fs.stat(nameOf(attempt))).pipe(
      Effect.map(({ size }): number | null => size),
      Effect.catchTag("StorageError", (error) =>
        error.cause._tag === "FileError" && error.cause.code === "ENOENT" ? Effect.succeed(null) : Effect.fail(error)
      )
    )

  return { open, follow, size }
}
