import { assert, describe, it } from "@effect/vitest"
import { Bytes, Effect, Result, Schema } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Pulled from "../../../src/protocol/wire/Pulled.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import * as Stderr from "../../../src/protocol/wire/Stderr.ts"

/** A client that answers each request with the next of its chunks, and at their end with nothing. */
const client = (chunks: ReadonlyArray<Uint8Array>) => {
  const waiting = chunks.filter((chunk) => chunk.length > 0)
  const answers: Array<Uint8Array> = []
  const asked: Array<Stderr.Message> = []
  const input: Source.Source<string> = {
    peek: Effect.suspend(() =>
      answers.length > 0 ? Effect.succeed(answers[0]!) : Effect.fail("nothing was asked for")
    ),
    advance: (count) => {
      const rest = answers.shift()!.subarray(count)
      if (rest.length > 0) answers.unshift(rest)
    }
  }
  const write = (bytes: Uint8Array) =>
    Effect.sync(() => {
      asked.push(Result.getOrThrow(Codec.decode(Stderr.Message, bytes, 0x0115)))
      answers.push(Codec.encode(Codec.bytes, waiting.shift() ?? new Uint8Array(0), 0))
    })
  return { asked, source: Pulled.source(input, write) }
}

describe("a pulled stream", () => {
  it.effect.prop("asks until it has what is wanted, and no further", [Schema.Array(Schema.Uint8Array)], ([chunks]) =>
    Effect.gen(function* () {
      const whole = Bytes.concat(chunks)
      const { asked, source } = client(chunks)

      assert.deepStrictEqual((yield* Source.take(source, whole.length)).slice(), whole)
      assert.strictEqual(asked.length, chunks.filter((chunk) => chunk.length > 0).length)
      assert.isTrue(asked.every((message) => message._tag === "Read" && message.count === Pulled.chunkBytesMax))
    })
  )

  it.effect("has ended too early at an empty answer, and does not ask again", () =>
    Effect.gen(function* () {
      const { asked, source } = client([Uint8Array.of(1, 2)])

      const error = yield* Effect.flip(Source.take(source, 3))
      yield* Source.expectEnd(source)

      assert.strictEqual(String(error), "WireError: expected 3 bytes, found the end after 2")
      assert.strictEqual(asked.length, 2)
    })
  )

  it.effect("refuses more than was asked for", () =>
    Effect.gen(function* () {
      const { source } = client([new Uint8Array(Pulled.chunkBytesMax + 1)])

      const error = yield* Effect.flip(Source.take(source, 1))

      assert.include(String(error), "expected at most 65536 bytes, found 65537")
    })
  )
})
