import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as Pace from "../../../src/actors/quota/Pace.ts"
import * as PacedChannel from "../../../src/actors/quota/PacedChannel.ts"
import { Account, AccountId, AccountName } from "../../../src/domain/Account.ts"
import { ViewId } from "../../../src/domain/View.ts"
import * as Channel from "../../support/channel.ts"

const account = new Account({ id: AccountId.make("0"), name: AccountName.make("test"), view: ViewId.make("0") })
const free = Pace.make(() => null)
const slow = () => Pace.make(() => 1000)

describe("a paced channel", () => {
  it.effect("reads no more than has been paid for", () =>
    Effect.gen(function* () {
      const { channel, client } = Channel.make(account, { windowBytes: 1 << 20 })
      const { input } = PacedChannel.make(channel, { upload: slow(), download: free })
      for (let piece = 0; piece < 10; piece++) yield* client.send(new Uint8Array(1000))
      yield* client.end
      const read = yield* Effect.forkChild(
        Effect.gen(function* () {
          let bytes = 0
          for (let chunk = yield* input.peek; chunk.length > 0; chunk = yield* input.peek) {
            bytes += chunk.length
            input.advance(chunk.length)
          }
          return [bytes, yield* Clock.currentTimeMillis]
        })
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(read), [10_000, 9_000])
    })
  )

  it.effect("writes no more than has been paid for, to either stream", () =>
    Effect.gen(function* () {
      const { channel } = Channel.make(account, { windowBytes: 1 << 20 })
      const { write, writeError } = PacedChannel.make(channel, { upload: free, download: slow() })
      const written = yield* Effect.forkChild(
        Effect.forEach([write, writeError, write, writeError], (one) => one(new Uint8Array(1000)), {
          discard: true
        }).pipe(Effect.andThen(Clock.currentTimeMillis))
      )
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(written), 3000)
    })
  )
})
