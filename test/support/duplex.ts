/** Two ends of a connection in memory: what one writes, the other reads. */
import { Effect, Queue } from "effect"
import type { Source } from "../../src/protocol/wire/Source.ts"

export interface End {
  readonly input: Source
  readonly write: (bytes: Uint8Array) => Effect.Effect<void>
}

const oneWay = Effect.gen(function* () {
  const queue = yield* Queue.unbounded<Uint8Array>()
  let current: Uint8Array = new Uint8Array(0)
  const input: Source = {
    peek: Effect.gen(function* () {
      while (current.length === 0) current = yield* Queue.take(queue)
      return current
    }),
    advance: (count) => {
      current = current.subarray(count)
    }
  }
  // The writer may reuse its buffer.
  const write = (bytes: Uint8Array) => Effect.asVoid(Queue.offer(queue, bytes.slice()))
  return { input, write }
})

export const duplex: Effect.Effect<readonly [left: End, right: End]> = Effect.gen(function* () {
  const there = yield* oneWay
  const back = yield* oneWay
  return [
    { input: back.input, write: there.write },
    { input: there.input, write: back.write }
  ] as const
})
