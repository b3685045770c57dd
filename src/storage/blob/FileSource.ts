/** The bytes of a file as a source, through one buffer: what has been looked at is gone with the next look. */
import { Effect } from "effect"
import type * as fs from "node:fs/promises"
import type { Source } from "../../protocol/wire/Source.ts"
import { file, type StorageError } from "../StorageError.ts"

/** `size`: bytes; no more than those are read. */
export const make = (
  handle: fs.FileHandle,
  options: { readonly name: string; readonly size: number; readonly buffer: Uint8Array }
): Source<StorageError> => {
  const { buffer, name, size } = options
  let offset = 0
  let current = buffer.subarray(0, 0)
  const read = Effect.suspend(() => {
    const length = Math.min(buffer.length, size - offset)
    if (length === 0) return Effect.succeed(current)
    return Effect.map(
      file("reading a blob", name, () => handle.read(buffer, 0, length, offset)),
      ({ bytesRead }) => {
        offset += bytesRead
        current = buffer.subarray(0, bytesRead)
        return current
      }
    )
  })
  return {
    peek: Effect.suspend(() => (current.length > 0 ? Effect.succeed(current) : read)),
    advance: (count) => {
      current = current.subarray(count)
    }
  }
}
