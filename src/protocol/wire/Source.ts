/**
 * Bytes in order, as they come: what decoders and NAR readers are driven from.
 *
 * A source is looked into and then advanced, so that a reader that finds its end in the middle of
 * a chunk leaves the rest for whoever reads next. There is one reader at a time.
 */
import { Effect } from "effect"
import { WireError } from "./Codec.ts"
import * as Reader from "./Reader.ts"

export interface Source<E = never, R = never> {
  /** The bytes at hand: at least one, or none when the input has ended. Valid until the next `peek`. */
  readonly peek: Effect.Effect<Uint8Array, E, R>
  /** Consumes the first `count` of the bytes last peeked at. */
  readonly advance: (count: number) => void
}

/** The input ended where there had to be more. */
export const ended = (expected: string, after = 0): WireError =>
  new WireError({ expected, found: after === 0 ? "the end" : `the end after ${after}` })

/** Bytes set aside for what crosses chunks, before it is known whether all of it comes. */
const firstRoomBytes = 4096

/** Exactly `count` bytes. */
export const take = Effect.fnUntraced(function* <E, R>(
  source: Source<E, R>,
  count: number
): Effect.fn.Return<Uint8Array, E | WireError, R> {
  if (count === 0) return new Uint8Array(0)
  const first = yield* source.peek
  if (first.length >= count) {
    source.advance(count)
    return first.subarray(0, count)
  }
  // Grows with what has come, not with what was announced: a count alone must not cost memory. And in one piece: who
  // sends a byte at a time would else have each of them kept as an array.
  let whole = new Uint8Array(Math.min(count, firstRoomBytes))
  let length = 0
  while (length < count) {
    const chunk = yield* source.peek
    if (chunk.length === 0) {
      return yield* ended(`${count} bytes`, length)
    }
    const part = chunk.subarray(0, count - length)
    if (length + part.length > whole.length) {
      const larger = new Uint8Array(Math.min(count, Math.max(2 * whole.length, length + part.length)))
      larger.set(whole)
      whole = larger
    }
    whole.set(part, length)
    source.advance(part.length)
    length += part.length
  }
  return whole
})

/** Reads values of a codec from the source. */
export const reader = <E, R>(source: Source<E, R>): Reader.Reader<E, R> =>
  Reader.make(source, (count) => take(source, count))

/** Reads and drops all that is left. Answers how many bytes that was. */
export const drain = Effect.fnUntraced(function* <E, R>(source: Source<E, R>): Effect.fn.Return<number, E, R> {
  let dropped = 0
  for (;;) {
    const { length } = yield* source.peek
    if (length === 0) return dropped
    source.advance(length)
    dropped += length
  }
})

/** Nothing may be left. */
export const expectEnd = Effect.fnUntraced(function* <E, R>(
  source: Source<E, R>
): Effect.fn.Return<void, E | WireError, R> {
  const { length } = yield* source.peek
  if (length > 0) return yield* new WireError({ expected: "the end", found: `at least ${length} more bytes` })
})

/** A source of bytes that are all there, in the given chunks. */
export const fromChunks = (chunks: Iterable<Uint8Array>): Source => {
  const iterator = chunks[Symbol.iterator]()
  let current: Uint8Array = new Uint8Array(0)
  return {
    peek: Effect.sync(() => {
      while (current.length === 0) {
        const next = iterator.next()
        if (next.done === true) break
        current = next.value
      }
      return current
    }),
    advance: (count) => {
      current = current.subarray(count)
    }
  }
}
