import { assert, describe, it } from "@effect/vitest"
import { Effect, References } from "effect"
import { Duplex } from "node:stream"
import { make } from "../../../src/sandbox/executor/DuplexChannel.ts"

/** Fibers that let everything else go first after every so many of their steps. */
const pauses = [4, 5, 6, 7, 8, 9, 10, 11, 12]

/** A stream of which something happens as soon as whoever looked at it lets others go first. */
const stream = (options: { readonly onLook?: (stream: Duplex) => void; readonly onWrite?: () => void }) => {
  let wasLookedAt = false
  const made = new Duplex({
    read: () => {
      if (!wasLookedAt) process.nextTick(() => options.onLook?.(made))
      wasLookedAt = true
    },
    write: (_bytes, _encoding, done) => {
      options.onWrite?.()
      process.nextTick(done)
    },
    writableHighWaterMark: 1
  })
  return made
}

describe("a duplex stream as a channel", () => {
  it.live.each(pauses)("is seen to have input, an end, or nobody behind it, whenever that comes to be (%i)", (steps) =>
    Effect.gen(function* () {
      const input = make(stream({ onLook: (stream) => stream.push(Buffer.from("bytes")) })).input
      assert.strictEqual(Buffer.from(yield* input.peek).toString(), "bytes")

      const ended = make(stream({ onLook: (stream) => stream.push(null) })).input
      assert.strictEqual((yield* ended.peek).length, 0)

      const gone = make(stream({ onLook: (stream) => stream.destroy() })).input
      assert.include((yield* Effect.flip(gone.peek)).message, "gone")

      const broken = make(stream({ onLook: (stream) => stream.destroy(new Error("reset")) })).input
      assert.include((yield* Effect.flip(broken.peek)).message, "gone")
    }).pipe(Effect.provideService(References.MaxOpsBeforeYield, steps))
  )

  it.live.each(pauses)("is written to when there is room, whenever that comes to be (%i)", (steps) =>
    Effect.gen(function* () {
      let writes = 0
      const channel = make(stream({ onWrite: () => writes++ }))
      for (let index = 0; index < 10; index++) yield* channel.write(Buffer.from("bytes"))
      assert.strictEqual(writes, 10)
    }).pipe(Effect.provideService(References.MaxOpsBeforeYield, steps))
  )
})
