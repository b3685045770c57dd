import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import * as SessionChannel from "../../src/ssh/SessionChannel.ts"
import { newAccount } from "../support/account.ts"

/** What ssh2 does with a channel, of which only the parts that the door uses, and a peer that does as it is told. */
const world = (outward: { readonly window: number; readonly packetSize: number }) => {
  const sent: Array<number> = []
  let largest = 0
  let unsent = 0
  let rekeying = false
  let state = "open"
  const outgoing = {
    window: outward.window,
    packetSize: outward.packetSize,
    get state() {
      return state
    }
  }
  const incoming = { window: 2 * 1024 * 1024 }
  const write = (bytes: Uint8Array) => {
    assert.isAtMost(bytes.length, outgoing.window)
    assert.isFalse(rekeying)
    largest = Math.max(largest, bytes.length)
    outgoing.window -= bytes.length
    sent.push(...bytes)
    return true
  }
  let adjusted = 0
  const ended: Array<string> = []
  const raw: SessionChannel.RawChannel = {
    incoming,
    outgoing,
    stderr: { write },
    write,
    push: () => true,
    _read: () => {
      if (incoming.window > 1024 * 1024) return
      adjusted += 2 * 1024 * 1024 - incoming.window
      incoming.window = 2 * 1024 * 1024
    },
    exit: (status) => void ended.push(`exit ${status}`),
    eof: () => void ended.push("eof"),
    close: () => {
      ended.push("close")
      state = "closing"
    }
  }
  const transport = { unsent: () => unsent, isRekeying: () => rekeying, corked: <A>(run: () => A) => run() }
  const channel = SessionChannel.make(raw, transport, { account: newAccount(), environment: new Map() })
  return {
    channel,
    sent,
    ended,
    largest: () => largest,
    adjusted: () => adjusted,
    allow: (count: number) => {
      outgoing.window += count
    },
    setUnsent: (count: number) => {
      unsent = count
      channel.wake()
    },
    setRekeying: (value: boolean) => {
      rekeying = value
      channel.wake()
    },
    arrive: (bytes: Uint8Array | null) => {
      if (bytes !== null) incoming.window -= bytes.length
      raw.push(bytes)
    }
  }
}

const wide = { window: 1_000_000, packetSize: 32_768 }
const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

describe("a channel's output", () => {
  it.effect("is cut to what the peer takes at once, and waits for its window", () =>
    Effect.gen(function* () {
      const { allow, channel, largest, sent } = world({ window: 2_500, packetSize: 1_000 })
      const bytes = Uint8Array.from({ length: 4_000 }, (_, index) => index)

      const writing = yield* Effect.forkChild(channel.write(bytes), { startImmediately: true })
      assert.strictEqual(sent.length, 2_500)
      allow(1_000)
      yield* Effect.yieldNow
      assert.strictEqual(sent.length, 3_500)
      assert.isTrue(isWaiting(writing))
      allow(10_000)
      yield* Fiber.join(writing)

      assert.deepStrictEqual(sent, [...bytes])
      assert.strictEqual(largest(), 1_000)
    })
  )

  it.effect("waits while the socket is full and while keys are exchanged", () =>
    Effect.gen(function* () {
      const { channel, sent, setRekeying, setUnsent } = world(wide)

      setUnsent(64 * 2 ** 20)
      const writing = yield* Effect.forkChild(channel.write(new Uint8Array(10)), { startImmediately: true })
      setRekeying(true)
      setUnsent(0)
      yield* Effect.yieldNow
      assert.isTrue(isWaiting(writing))
      assert.strictEqual(sent.length, 0)
      setRekeying(false)
      yield* Fiber.join(writing)

      assert.strictEqual(sent.length, 10)
    })
  )

  it.effect("lets stdout and stderr wait side by side", () =>
    Effect.gen(function* () {
      const { allow, channel, sent } = world({ window: 0, packetSize: 1_024 })

      const one = yield* Effect.forkChild(channel.write(new Uint8Array(1_500).fill(1)), { startImmediately: true })
      const other = yield* Effect.forkChild(channel.writeError(new Uint8Array(1_500).fill(2)), {
        startImmediately: true
      })
      for (let round = 0; round < 30; round++) {
        allow(100)
        yield* Effect.yieldNow
      }
      yield* Fiber.join(one)
      yield* Fiber.join(other)

      assert.strictEqual(sent.filter((byte) => byte === 1).length, 1_500)
      assert.strictEqual(sent.filter((byte) => byte === 2).length, 1_500)
    })
  )

  it.effect("fails when the peer is gone, also when it is waiting", () =>
    Effect.gen(function* () {
      const { channel, ended } = world({ window: 0, packetSize: 1_024 })
      const writing = yield* Effect.forkChild(Effect.flip(channel.write(new Uint8Array(1))), { startImmediately: true })

      channel.lose("gone")

      assert.strictEqual((yield* Fiber.join(writing)).detail, "gone")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(channel.writeError(new Uint8Array(1)))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(channel.input.peek)))
      yield* channel.closed
      yield* channel.lost
      channel.finish(0)
      assert.deepStrictEqual(ended, [])
    })
  )

  it.effect("ends with its status, then says that no more comes", () =>
    Effect.gen(function* () {
      const { channel, ended } = world(wide)

      channel.finish(3)

      assert.deepStrictEqual(ended, ["exit 3", "eof", "close"])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(channel.write(new Uint8Array(1)))))
    })
  )
})

describe("a channel's input", () => {
  const pieces = Schema.Array(
    Schema.Struct({ size: Schema.Literals([0, 1, 7, 4_095, 4_096, 30_000]), reads: Schema.Boolean })
  )

  it.effect.prop("comes in order and whole, however it was cut", [pieces], ([pieces]) =>
    Effect.gen(function* () {
      const { arrive, channel } = world(wide)
      const read: Array<number> = []
      const readSome = Effect.gen(function* () {
        const bytes = yield* channel.input.peek
        const count = Math.ceil(bytes.length / 2)
        read.push(...bytes.subarray(0, count))
        channel.input.advance(count)
        return bytes.length > 0
      })
      let count = 0

      for (const { reads, size } of pieces) {
        const buffer = new Uint8Array(65_536)
        for (let index = 0; index < size; index++) buffer[index] = (count + index) % 251
        arrive(buffer.subarray(0, size))
        count += size
        if (reads && count > read.length) yield* readSome
      }
      arrive(null)
      while (yield* readSome);

      assert.strictEqual(read.length, count)
      assert.isTrue(read.every((byte, index) => byte === index % 251))
      yield* channel.closed
    })
  )

  it.effect("opens the window again as it is read, and not before", () =>
    Effect.gen(function* () {
      const { adjusted, arrive, channel } = world(wide)

      for (let index = 0; index < 64; index++) arrive(new Uint8Array(32_768))
      assert.strictEqual(adjusted(), 0)
      for (let index = 0; index < 64; index++) {
        channel.input.advance((yield* channel.input.peek).length)
      }

      assert.isAtLeast(adjusted(), 1024 * 1024)
      assert.isAtMost(adjusted(), 2 * 1024 * 1024)
    })
  )

  it("past the window breaks the rules", () => {
    const { arrive } = world(wide)

    for (let index = 0; index < 64; index++) arrive(new Uint8Array(32_768))

    assert.throws(() => arrive(new Uint8Array(1)), /expected at most 0 bytes of input, found 1/)
  })

  it.effect("of small pieces keeps little more than the pieces alive", () =>
    Effect.gen(function* () {
      const { arrive, channel } = world(wide)
      const kept = new Set<ArrayBufferLike>()

      // Each is a part of a buffer that would otherwise live as long as it does.
      for (let index = 0; index < 20_000; index++)
        arrive(new Uint8Array(65_536).subarray(0, index % 100 === 0 ? 5_000 : 1))
      for (let left = 20_000 + 200 * 4_999; left > 0;) {
        const bytes = yield* channel.input.peek
        kept.add(bytes.buffer)
        left -= bytes.length
        channel.input.advance(bytes.length)
      }

      const bytes = [...kept].reduce((sum, { byteLength }) => sum + byteLength, 0)
      assert.isBelow(bytes, 5 * (20_000 + 200 * 4_999))
    })
  )

  it.effect("closes the channel when it has ended and all is read", () =>
    Effect.gen(function* () {
      const { arrive, channel } = world(wide)
      const closing = yield* Effect.forkChild(channel.closed, { startImmediately: true })

      arrive(new Uint8Array(10))
      arrive(null)
      yield* Effect.yieldNow
      assert.isTrue(isWaiting(closing))
      channel.input.advance((yield* channel.input.peek).length)

      yield* Fiber.join(closing)
      assert.strictEqual((yield* channel.input.peek).length, 0)
    })
  )
})
