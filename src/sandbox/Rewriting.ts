/** A source with one hash part in it replaced by another, as its bytes go by. */
import { Effect } from "effect"
import { Rewriter } from "../protocol/nix/Rewriter.ts"
import { WireError } from "../protocol/wire/Codec.ts"
import type { Source } from "../protocol/wire/Source.ts"

export const rewriting = <E, R>(source: Source<E, R>, from: string, to: string): Source<E | WireError, R> => {
  let ready: Array<Uint8Array> = []
  let ended = false
  const rewriter = new Rewriter(from, to, (chunk) => {
    ready.push(chunk)
  })

  const pull = Effect.gen(function* () {
    while (ready.length === 0 && !ended) {
      const chunk = yield* source.peek
      yield* Effect.try({
        try: () => {
          if (chunk.length === 0) rewriter.end()
          else rewriter.push(chunk)
        },
        catch: (error) => {
          if (error instanceof WireError) return error
          throw error
        }
      })
      source.advance(chunk.length)
      ended = chunk.length === 0
    }
    return ready[0] ?? new Uint8Array(0)
  })

  return {
    peek: Effect.suspend((): Effect.Effect<Uint8Array, E | WireError, R> => {
      const [first] = ready
      return first === undefined ? pull : Effect.succeed(first)
    }),
    advance: (count) => {
      const [first = new Uint8Array(0), ...rest] = ready
      ready = count === first.length ? rest : [first.subarray(count), ...rest]
    }
  }
}
