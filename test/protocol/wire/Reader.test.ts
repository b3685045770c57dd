import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { pieces } from "../../support/pieces.ts"

const message = Codec.struct({ path: Codec.text, sizes: Codec.list(Codec.u64), rest: Codec.bytes })
const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 })))

describe("a reader", () => {
  it.effect.prop(
    "finds messages wherever their bytes are cut",
    [Schema.Array(message.schema), Cuts],
    ([values, cuts]) =>
      Effect.gen(function* () {
        const bytes = Codec.encode(Codec.list(message), values, 0).subarray(8)
        const source = Source.fromChunks(pieces(bytes, cuts))
        const read = Source.reader(source)

        for (const value of values) assert.deepStrictEqual(yield* read(message, 0), value)
        yield* Source.expectEnd(source)
      })
  )

  it.effect("asks for nothing beyond the message, wherever its bytes are cut", () =>
    Effect.gen(function* () {
      const bytes = Codec.encode(message, { path: "p", sizes: [1n], rest: new TextEncoder().encode("eight at") }, 0)
      for (let cut = 1; cut <= bytes.length; cut++) {
        const waiting = [...pieces(bytes, [cut])]
        const source: Source.Source<string> = {
          peek: Effect.suspend(() =>
            waiting.length > 0 ? Effect.succeed(waiting[0]!) : Effect.fail("asked for more than the message")
          ),
          advance: (count) => {
            const rest = waiting.shift()!.subarray(count)
            if (rest.length > 0) waiting.unshift(rest)
          }
        }

        const value = yield* Source.reader(source)(message, 0)

        assert.strictEqual(value.path, "p")
      }
    })
  )

  it.effect("says what was missing when the input ends", () =>
    Effect.gen(function* () {
      const bytes = Codec.encode(Codec.text, "sixteen letters!", 0)
      const read = Source.reader(Source.fromChunks([bytes.subarray(0, 12)]))

      const error = yield* Effect.flip(read(Codec.text, 0))

      assert.strictEqual(error.message, "expected 16 bytes, found the end after 4")
    })
  )

  it.effect("refuses a message that is too long in all, before taking what exceeds it", () =>
    Effect.gen(function* () {
      const greedy: Codec.Codec<null> = {
        ...Codec.nothing,
        *decode() {
          yield 8
          yield Codec.messageBytesMax
          return null
        }
      }

      const error = yield* Effect.flip(Source.reader(Source.fromChunks([new Uint8Array(8)]))(greedy, 0))

      assert.strictEqual(
        error.message,
        `expected a message of at most ${Codec.messageBytesMax} bytes, found ${Codec.messageBytesMax + 8}`
      )
    })
  )

  it.effect("lets a mistake of ours be a defect", () =>
    Effect.gen(function* () {
      const broken: Codec.Codec<null> = {
        ...Codec.nothing,
        *decode(): Codec.Pull<null> {
          yield 8
          throw new TypeError("ours")
        }
      }

      const exit = yield* Effect.exit(Source.reader(Source.fromChunks([new Uint8Array(8)]))(broken, 0))

      assert.include(String(exit), "ours")
      assert.notInclude(String(exit), "WireError")
    })
  )
})
