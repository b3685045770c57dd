/**
 * A draft as a file: one buffer is filled while the one before is written, so that nobody waits for both.
 *
 * The last buffer is not waited for either; whoever wants the file, waits for it with `settled`. How many writes are
 * under way is bounded over all drafts. A draft has a descriptor and buffers only while it is written: many wait to be
 * put together.
 */
import { Effect, Fiber, type Scope, type Semaphore } from "effect"
import * as fs from "node:fs/promises"
import { file, type StorageError } from "../StorageError.ts"
import type { Draft } from "./BlobStore.ts"
import type { Buffers } from "./Buffers.ts"

export interface FileDraft extends Pick<Draft, "take" | "flush" | "end"> {
  /** Where it is; whoever renames the file says so here. */
  name: string
  /** All that was taken is in the file. To be called after `end`. */
  readonly settled: Effect.Effect<void, StorageError>
}

export interface FileDrafts {
  readonly buffers: Buffers
  /** As many permits as there may be writes under way. */
  readonly writes: Semaphore.Semaphore
}

/** A new file of this name, which is removed when the scope closes unless it was given another name. */
export const make = Effect.fnUntraced(function* (
  { buffers, writes }: FileDrafts,
  name: string
): Effect.fn.Return<FileDraft, never, Scope.Scope> {
  let handle: fs.FileHandle | null = null
  let filling: Uint8Array | null = buffers.take()
  let filled = 0
  let last: Fiber.Fiber<void, StorageError> | null = null

  const close = async () => {
    await handle?.close()
    handle = null
  }
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      if (filling !== null) buffers.give(filling)
      await close().catch(() => {})
      if (draft.name === name) await fs.rm(name, { force: true }).catch(() => {})
    })
  )
  // Writes end before the file does: what is forked last is ended first.
  const owner = yield* Effect.scope

  const write = (buffer: Uint8Array, bytes: number) =>
    file("writing a blob", name, async () => {
      try {
        // To be read by whoever its directory is shown to, and written by nobody again.
        handle ??= await fs.open(name, "wx", 0o444)
        // The system may take less than it is given.
        for (let written = 0; written < bytes;) {
          written += (await handle.write(buffer, written, bytes - written)).bytesWritten
        }
      } finally {
        buffers.give(buffer)
      }
    })

  const settled = Effect.suspend(() => (last === null ? Effect.void : Fiber.join(last)))

  /** Begins to write what has been filled, once what came before is written. */
  const begin = Effect.fnUntraced(function* (isEnd: boolean) {
    if (filling === null) return
    yield* settled
    yield* writes.take(1)
    const writing = write(filling, filled)
    filling = isEnd ? null : buffers.take()
    filled = 0
    last = yield* writing.pipe(
      Effect.andThen(isEnd ? file("writing a blob", name, close) : Effect.void),
      Effect.ensuring(writes.release(1)),
      Effect.forkIn(owner, { startImmediately: true })
    )
  }, Effect.uninterruptible)

  const draft: FileDraft = {
    name,
    take: (bytes) => {
      if (filling === null) return 0
      const part = bytes.subarray(0, filling.length - filled)
      filling.set(part, filled)
      filled += part.length
      return part.length
    },
    flush: begin(false),
    end: begin(true),
    settled
  }
  return draft
})
