/**
 * A stream cut into frames: each a `u64` length and that many bytes, unpadded; a length of zero ends it.
 *
 * Where frames begin and end says nothing. Both sides stay in step because the end is marked: a
 * receiver that gives up reads on to it (`Source.drain`) and the connection is good for more.
 */
import { Effect } from "effect"
import { encode, upTo, type WireError } from "./Codec.ts"
import * as Source from "./Source.ts"

/** The longest frame taken. It is never held, so this only keeps the arithmetic exact; Nix sends 64 KiB. */
export const frameBytesMax = 2 ** 40

const length = upTo(frameBytesMax, " bytes in a frame")

/** What the frames carry. It ends after the last of them, and `input` stands then behind the terminator. */
export const source = <E, R>(input: Source.Source<E, R>): Source.Source<E | WireError, R> => {
  const read = Source.reader(input)
  let left = 0
  let ended = false
  const peek = Effect.fnUntraced(function* (): Effect.fn.Return<Uint8Array, E | WireError, R> {
    if (left === 0 && !ended) {
      left = yield* read(length, 0)
      ended = left === 0
    }
    if (ended) return new Uint8Array(0)
    const chunk = yield* input.peek
    if (chunk.length === 0) return yield* Source.ended(`${left} more bytes of a frame`)
    return chunk.subarray(0, left)
  })
  return {
    peek: Effect.suspend(peek),
    advance: (count) => {
      left -= count
      input.advance(count)
    }
  }
}

/** One frame; nothing for an empty chunk, which would end the stream. */
export const frame = (chunk: Uint8Array): ReadonlyArray<Uint8Array> =>
  chunk.length === 0 ? [] : [encode(length, chunk.length, 0), chunk]

/** What ends the stream. */
export const terminator: Uint8Array = encode(length, 0, 0)
