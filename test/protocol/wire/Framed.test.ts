import { assert, describe, it } from "@effect/vitest"
import { Bytes, Effect, Schema } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Framed from "../../../src/protocol/wire/Framed.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { pieces } from "../../support/pieces.ts"

const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 })))

const framed = (chunks: ReadonlyArray<Uint8Array>): Uint8Array =>
  Bytes.concat([...chunks.flatMap((chunk) => Framed.frame(chunk)), Framed.terminator])

const after = Codec.encode(Codec.u64, 42n, 0)

/** Everything in it. */
const collect = Effect.fnUntraced(function* <E>(source: Source.Source<E>) {
  const chunks: Array<Uint8Array> = []
  for (;;) {
    const chunk = yield* source.peek
    if (chunk.length === 0) return Bytes.concat(chunks)
    chunks.push(chunk.slice())
    source.advance(chunk.length)
  }
})

describe("a framed stream", () => {
  it.effect.prop(
    "carries its bytes however they are framed and cut",
    [Schema.Array(Schema.Uint8Array), Cuts],
    ([chunks, cuts]) =>
      Effect.gen(function* () {
        const input = Source.fromChunks(pieces(Bytes.concat([framed(chunks), after]), cuts))

        assert.deepStrictEqual(yield* collect(Framed.source(input)), Bytes.concat(chunks))
        assert.strictEqual(yield* Source.reader(input)(Codec.u64, 0), 42n)
      })
  )

  it.effect("is read on to its end by whoever gives up on it", () =>
    Effect.gen(function* () {
      const input = Source.fromChunks([framed([new Uint8Array(10), new Uint8Array(90)]), after])
      const source = Framed.source(input)
      yield* Source.take(source, 5)

      assert.strictEqual(yield* Source.drain(source), 95)
      assert.strictEqual(yield* Source.reader(input)(Codec.u64, 0), 42n)
    })
  )

  it.effect("may hold several values across its frames", () =>
    Effect.gen(function* () {
      const bytes = Codec.encode(Codec.text, "a text that is cut", 0)
      const source = Framed.source(Source.fromChunks([framed(pieces(bytes, [3]))]))

      assert.strictEqual(yield* Source.reader(source)(Codec.text, 0), "a text that is cut")
      yield* Source.expectEnd(source)
    })
  )

  it("has no frame for nothing, since that would end it", () => {
    assert.deepStrictEqual(Framed.frame(new Uint8Array(0)), [])
    assert.deepStrictEqual(Framed.terminator, new Uint8Array(8))
  })

  it.effect("is not whole without its terminator, or in the middle of a frame", () =>
    Effect.gen(function* () {
      const whole = framed([new Uint8Array(10)])
      for (const length of [0, 4, 8, 12, 18, 22]) {
        const source = Framed.source(Source.fromChunks([whole.subarray(0, length)]))

        assert.strictEqual((yield* Effect.flip(collect(source)))._tag, "WireError", `${length}`)
      }
    })
  )

  it.effect("refuses a frame without end", () =>
    Effect.gen(function* () {
      const source = Framed.source(Source.fromChunks([Codec.encode(Codec.u64, 2n ** 64n - 1n, 0)]))

      assert.match((yield* Effect.flip(collect(source))).message, /bytes in a frame, found 18446744073709551615$/)
    })
  )
})
