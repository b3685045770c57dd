import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { pieces } from "../../support/pieces.ts"

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

/** What this process cannot give back. */
const heldBytes = (): number => {
  if (typeof collect === "function") collect()
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}

const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 })))
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 }))

describe("a source", () => {
  it.effect.prop(
    "gives as many bytes as are taken, in order",
    [Schema.Uint8Array, Cuts, Count],
    ([bytes, cuts, count]) =>
      Effect.gen(function* () {
        const source = Source.fromChunks(pieces(bytes, cuts))

        const taken = yield* Effect.exit(Source.take(source, count))

        if (count > bytes.length) {
          assert.include(String(taken), `${count} bytes`)
        } else {
          assert.deepStrictEqual(yield* taken, bytes.slice(0, count))
          assert.strictEqual(yield* Source.drain(source), bytes.length - count)
          yield* Source.expectEnd(source)
        }
      })
  )

  it.effect("does not set aside what was only announced", () =>
    Effect.gen(function* () {
      // A buffer of this size cannot be had at all, so the failure is that of the input.
      const error = yield* Effect.flip(Source.take(Source.fromChunks([new Uint8Array(3)]), 2 ** 50))

      assert.strictEqual(error.message, `expected ${2 ** 50} bytes, found the end after 3`)
    })
  )

  it.effect("holds no more than has come, in whatever pieces", () =>
    Effect.gen(function* () {
      const count = 2 ** 20
      const lent = new Uint8Array(1)
      let taken = 0
      let held = 0
      const source: Source.Source = {
        peek: Effect.sync(() => {
          lent[0] = taken
          if (taken === count - 1) held = heldBytes() - before
          return lent
        }),
        advance: (some) => {
          taken += some
        }
      }
      const before = heldBytes()

      const bytes = yield* Source.take(source, count)

      assert.strictEqual(bytes[300], 300 % 256)
      assert.isBelow(held, 8 * count)
    })
  )

  it.effect("is not at its end while bytes are left", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Source.expectEnd(Source.fromChunks([new Uint8Array(0), new Uint8Array(2)])))

      assert.strictEqual(error.message, "expected the end, found at least 2 more bytes")
    })
  )
})
