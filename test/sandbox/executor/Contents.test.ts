import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Source } from "../../../src/protocol/wire/Source.ts"
import * as Contents from "../../../src/sandbox/executor/Contents.ts"

/** As a socket of Node's: each chunk in memory of its own. */
const chunkOf = (length: number) => new Uint8Array(length).fill(length % 251)

const sourceOf = (chunks: ReadonlyArray<Uint8Array>): Source => {
  const left = [...chunks]
  let current: Uint8Array = new Uint8Array(0)
  return {
    peek: Effect.sync(() => {
      if (current.length === 0) current = left.shift() ?? current
      return current
    }),
    advance: (count) => {
      current = current.subarray(count)
    }
  }
}

/** Reads so many bytes of contents, a part of a chunk at a time, and answers them. */
const read = Effect.fnUntraced(function* (contents: Contents.Contents, part: number) {
  const parts: Array<Uint8Array> = []
  while (contents.left() > 0) {
    const bytes = (yield* contents.peek).subarray(0, part)
    parts.push(bytes.slice())
    contents.advance(bytes.length)
  }
  return Buffer.concat(parts)
})

describe("contents of an output", () => {
  it.effect("are the same however they come, and their memory is given back as soon as the next is asked for", () =>
    Effect.gen(function* () {
      const chunks = [chunkOf(65_536), chunkOf(50_000), chunkOf(65_536)]
      const expected = Buffer.concat(chunks)
      const contents = Contents.make(sourceOf(chunks))
      contents.begin(expected.length)

      const first = yield* contents.peek
      contents.advance(first.length)
      // As long as nobody has asked for more.
      assert.strictEqual(first.length, 65_536)
      const rest = yield* read(contents, 10_000)

      assert.isTrue(rest.equals(expected.subarray(65_536)))
      assert.deepStrictEqual(
        chunks.map(({ length }) => length),
        [0, 0, 65_536]
      )
    })
  )

  it.effect(
    "leave alone what is not theirs: other frames in the same chunk, and memory that others have a part of",
    () =>
      Effect.gen(function* () {
        const [framed, shared, short] = [chunkOf(40_000), chunkOf(80_000).subarray(40_000), chunkOf(100)]
        const last = chunkOf(20_000)
        // Lent twice.
        const input = sourceOf([framed, shared, shared, short, last])
        const contents = Contents.make(input)

        contents.begin(30_000)
        yield* read(contents, 65_536)
        // A frame of another kind, which whoever is told of it may keep.
        const kept = (yield* input.peek).subarray(0, 5_000)
        input.advance(5_000)
        contents.begin(5_000 + 2 * shared.length + short.length + last.length)
        yield* read(contents, 65_536)

        assert.strictEqual(kept.length, 5_000)
        assert.deepStrictEqual(
          [framed, shared, short, last].map(({ length }) => length),
          [40_000, 40_000, 100, 20_000]
        )
      })
  )

  it.effect("fail where the channel ends within them", () =>
    Effect.gen(function* () {
      const contents = Contents.make(sourceOf([chunkOf(20_000)]))
      contents.begin(20_001)

      const error = yield* Effect.flip(read(contents, 65_536))

      assert.include(error.message, "the end")
    })
  )
})
