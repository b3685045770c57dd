import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { BlobStore } from "../../../src/storage/blob/BlobStore.ts"
import * as FileBlobStore from "../../../src/storage/blob/FileBlobStore.ts"
import type { Source } from "../../../src/protocol/wire/Source.ts"
import { hashOf } from "../../support/nar.ts"
import { temporaryDirectory } from "../../support/postgres.ts"

/** Runs with a store of this directory, as a server that starts and ends does. */
const inStore =
  (directory: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(effect, FileBlobStore.layer(directory), { local: true })

const readAll = Effect.fnUntraced(function* <E, R>(source: Source<E, R>) {
  const parts: Array<Uint8Array> = []
  for (let chunk = yield* source.peek; chunk.length > 0; chunk = yield* source.peek) {
    parts.push(new Uint8Array(chunk))
    source.advance(chunk.length)
  }
  return Buffer.concat(parts)
})

const drafted = Effect.fnUntraced(function* (bytes: Uint8Array) {
  const draft = yield* (yield* BlobStore).draft
  for (let taken = 0; taken < bytes.length; taken += draft.take(bytes.subarray(taken))) yield* draft.flush
  yield* draft.end
  return { draft, key: hashOf(bytes) }
})

const filesIn = (directory: string) =>
  fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())

const several = Buffer.alloc(3_000_000, "several buffers")

describe("FileBlobStore", () => {
  it.effect("gives back what was put, to this server and the next", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const key = hashOf(several)

      yield* Effect.gen(function* () {
        const blobs = yield* BlobStore
        yield* Effect.scoped(Effect.flatMap(drafted(several), (draft) => blobs.put([draft])))
        assert.isTrue(yield* blobs.has(key))
      }).pipe(inStore(directory))

      yield* Effect.gen(function* () {
        const { size, source } = yield* (yield* BlobStore).get(key)
        assert.strictEqual(size, several.length)
        assert.isTrue(several.equals(yield* readAll(source)))
      }).pipe(Effect.scoped, inStore(directory))
    })
  )

  it.effect("reads a draft before it is put and after", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      yield* Effect.gen(function* () {
        const one = yield* drafted(several)

        assert.isTrue(several.equals(yield* Effect.flatMap(one.draft.read, readAll)))
        yield* (yield* BlobStore).put([one])
        assert.isTrue(several.equals(yield* Effect.flatMap(one.draft.read, readAll)))
      }).pipe(Effect.scoped, inStore(directory))
    })
  )

  it.effect("leaves nothing of a draft that was not put", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      yield* Effect.scoped(drafted(several)).pipe(inStore(directory))

      assert.deepStrictEqual(filesIn(directory), [])
    })
  )

  it.effect("removes at its start what a killed server left half done", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      yield* Effect.void.pipe(inStore(directory))
      fs.writeFileSync(path.join(directory, "nars/tmp/left"), "half")

      yield* Effect.void.pipe(inStore(directory))

      assert.deepStrictEqual(filesIn(directory), [])
    })
  )

  it.effect("puts what is there already, deletes what is not, and lists the rest", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      yield* Effect.gen(function* () {
        const blobs = yield* BlobStore
        const [a, b] = [Buffer.from("a"), Buffer.from("b")]
        yield* blobs.put([yield* drafted(a), yield* drafted(b)])
        yield* blobs.put([yield* drafted(a)])
        yield* blobs.delete(hashOf(b))
        yield* blobs.delete(hashOf(b))

        assert.deepStrictEqual(yield* Stream.runCollect(blobs.keys), [hashOf(a)])
        assert.isFalse(yield* blobs.has(hashOf(b)))
        const error = yield* Effect.flip(blobs.get(hashOf(b)))
        assert.deepInclude(error.cause, { _tag: "MissingNar", narHash: hashOf(b) })
      }).pipe(Effect.scoped, inStore(directory))
    })
  )

  it.effect.prop(
    "takes bytes however they are cut",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400_000 })))],
    ([lengths]) =>
      Effect.gen(function* () {
        const bytes = Buffer.concat(lengths.map((length, index) => Buffer.alloc(length, `part ${index}`)))
        const directory = yield* temporaryDirectory
        yield* Effect.gen(function* () {
          const one = yield* drafted(bytes)
          yield* (yield* BlobStore).put([one])
          const { source } = yield* (yield* BlobStore).get(one.key)
          assert.isTrue(bytes.equals(yield* readAll(source)))
        }).pipe(Effect.scoped, inStore(directory))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 10 } }
  )
})
