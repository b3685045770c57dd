/**
 * A stream that the receiver pulls: it asks for up to so many bytes, and is sent a string of them.
 *
 * The worker protocol 1.21 and 1.22, which Nix 2.1 to 2.3 speak, uploads this way. Nothing marks
 * the end: the receiver stops asking when it has what it wanted. An empty string is an end too early.
 */
import { Effect } from "effect"
import { bytesUpTo, encode, type WireError } from "./Codec.ts"
import * as Source from "./Source.ts"
import * as Stderr from "./Stderr.ts"

/** As much as Nix 2.3 has at hand at a time. */
export const chunkBytesMax = 64 * 1024

const answer = bytesUpTo(chunkBytesMax)

/** Each `peek` with nothing at hand asks for more through `write`, which must flush. */
export const source = <E, R, E2, R2>(
  input: Source.Source<E, R>,
  write: (bytes: Uint8Array) => Effect.Effect<void, E2, R2>
): Source.Source<E | E2 | WireError, R | R2> => {
  const read = Source.reader(input)
  const request = encode(Stderr.Message, { _tag: "Read", count: chunkBytesMax }, 0)
  let current: Uint8Array = new Uint8Array(0)
  let ended = false
  const peek = Effect.fnUntraced(function* (): Effect.fn.Return<Uint8Array, E | E2 | WireError, R | R2> {
    if (current.length === 0 && !ended) {
      yield* write(request)
      current = yield* read(answer, 0)
      ended = current.length === 0
    }
    return current
  })
  return {
    peek: Effect.suspend(peek),
    advance: (count) => {
      current = current.subarray(count)
    }
  }
}
