import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { entriesOf, printJson } from "../../src/protocol/nar/Listing.ts"
import * as Source from "../../src/protocol/wire/Source.ts"
import * as FileBlobStore from "../../src/storage/blob/FileBlobStore.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { cut, hashOf, narOf } from "../support/nar.ts"
import { TestDatabase } from "../support/postgres.ts"

const directory = fs.mkdtempSync("/tmp/drover-test-nars-")
const Removed = Layer.effectDiscard(
  Effect.addFinalizer(() => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true })))
)
const Nars = NarStore.layer.pipe(
  Layer.provide(FileBlobStore.layer(directory)),
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(Removed)
)

const small = narOf({
  entries: { bin: { entries: { hello: { executable: "#!/bin/sh\n" } } }, link: { target: "bin" } }
})
const large = narOf({ entries: { a: Buffer.alloc(3_000_000, "large"), b: "b" } })

const receive = Effect.fnUntraced(function* (
  bytes: Uint8Array,
  options?: Parameters<NarStore["Service"]["receive"]>[1],
  chunk = 65_536
) {
  return yield* (yield* NarStore).receive(Source.fromChunks(cut(bytes, chunk)), options)
})

const readAll = Effect.fnUntraced(function* <E, R>(source: Source.Source<E, R>) {
  const parts: Array<Uint8Array> = []
  for (let chunk = yield* source.peek; chunk.length > 0; chunk = yield* source.peek) {
    parts.push(new Uint8Array(chunk))
    source.advance(chunk.length)
  }
  return Buffer.concat(parts)
})

const files = (under = "nars") =>
  fs
    .readdirSync(path.join(directory, under), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)

layer(Nars)("NarStore", (it) => {
  for (const [which, bytes] of [
    ["small", small],
    ["large", large]
  ] as const) {
    it.effect(`gives back a ${which} NAR, with its listing`, () =>
      Effect.gen(function* () {
        const nars = yield* NarStore
        const nar = yield* receive(bytes)
        assert.strictEqual(nar.narHash, hashOf(bytes))
        assert.strictEqual(nar.narSize, bytes.length)
        assert.isTrue(bytes.equals(yield* Effect.flatMap(nars.reread(nar), readAll)))

        yield* nars.commit([nar])

        assert.isTrue(bytes.equals(yield* Effect.flatMap(nars.open(nar.narHash), readAll)))
        assert.isTrue(bytes.equals(yield* Effect.flatMap(nars.reread(nar), readAll)))
        const listing = yield* nars.listing(nar.narHash)
        assert.deepStrictEqual(listing, nar.listing)
        assert.strictEqual(listing.type === "directory" ? entriesOf(listing).length : 0, 2)
      })
    )
  }

  it.effect("tells another process where NARs lie, with their listings", () =>
    Effect.gen(function* () {
      const nars = yield* NarStore
      const received = yield* Effect.forEach([large, small], (bytes) => receive(bytes))
      yield* nars.commit(received)

      const located = yield* nars.locate([hashOf(small), hashOf(large), hashOf(small)])

      const bytes = located.map(({ contents }) =>
        contents._tag === "File" ? fs.readFileSync(contents.path) : Buffer.from(contents.bytes)
      )
      assert.deepStrictEqual(
        located.map(({ narHash, contents }) => [narHash, contents._tag]),
        [
          [hashOf(small), "Bytes"],
          [hashOf(large), "File"],
          [hashOf(small), "Bytes"]
        ]
      )
      assert.deepStrictEqual(bytes.map(hashOf), [hashOf(small), hashOf(large), hashOf(small)])
      assert.strictEqual(
        zlib.inflateRawSync(located[1]!.listing).toString(),
        printJson(yield* nars.listing(hashOf(large)))
      )
      const error = yield* Effect.flip(nars.locate([hashOf(small), hashOf(Buffer.from("nobody's"))]))
      assert.deepInclude(error.cause, { _tag: "MissingNar" })
    })
  )

  it.effect("leaves what follows a NAR to whoever reads next", () =>
    Effect.gen(function* () {
      const source = Source.fromChunks(cut(Buffer.concat([small, Buffer.from("next")]), 777))

      yield* (yield* NarStore).receive(source)

      assert.strictEqual(Buffer.from(yield* Source.take(source, 4)).toString(), "next")
    })
  )

  it.effect.prop("reads the same from chunks of any size", [Schema.Literals([1, 7, 777, 4096, 100_000])], ([chunk]) =>
    Effect.gen(function* () {
      const bytes = narOf({ entries: { a: Buffer.alloc(20_000, "abc"), b: { target: "a" } } })
      const nar = yield* receive(bytes, {}, chunk)

      assert.strictEqual(nar.narHash, hashOf(bytes))
      assert.isTrue(bytes.equals(yield* Effect.flatMap((yield* NarStore).reread(nar), readAll)))
    }).pipe(Effect.scoped)
  )

  it.effect("is told of nothing that was not committed, and keeps nothing of it", () =>
    Effect.gen(function* () {
      const nars = yield* NarStore
      const before = files()
      const bytes = narOf(Buffer.alloc(100_000, "never committed"))

      const nar = yield* Effect.scoped(receive(bytes))

      const error = yield* Effect.flip(nars.open(nar.narHash))
      assert.deepInclude(error.cause, { _tag: "MissingNar" })
      assert.deepStrictEqual(files(), before)
    })
  )

  it.effect("commits one twice as once", () =>
    Effect.gen(function* () {
      const nars = yield* NarStore
      const bytes = narOf(Buffer.alloc(50_000, "twice"))
      const first = yield* receive(bytes)
      const second = yield* receive(bytes)

      yield* nars.commit([first, second])
      yield* nars.commit([second])

      assert.isTrue(bytes.equals(yield* Effect.flatMap(nars.open(first.narHash), readAll)))
      assert.lengthOf(
        files().filter((name) => name.startsWith(first.narHash)),
        1
      )
    })
  )

  for (const [what, bytes, options] of [
    ["what is no NAR", Buffer.alloc(64, "no NAR"), {}],
    ["a NAR that ends too soon", large.subarray(0, 2_000_000), {}],
    ["a NAR that is larger than it may be", large, { sizeMax: large.length - 1 }],
    [
      "a NAR that says of a file that it is too large, before it comes",
      narOf("x".repeat(5000)).subarray(0, 200),
      { sizeMax: 1000 }
    ]
  ] as const) {
    it.effect(`refuses ${what}, and keeps nothing of it`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(receive(bytes, options)))

        assert.strictEqual(error._tag, "WireError")
        if ("sizeMax" in options) assert.match(error.message, /expected a NAR of at most/)
        assert.deepStrictEqual(files("nars/tmp"), [])
      })
    )
  }

  it.effect("finds the references that it is asked for", () =>
    Effect.gen(function* () {
      const [here, absent] = ["0".repeat(32), "1".repeat(32)]
      const nar = yield* receive(narOf(`see /nix/store/${here}-glibc`), { candidates: [here, absent] }, 7)

      assert.deepStrictEqual([...nar.found], [here])
    })
  )

  it.effect("takes a further digest, of the NAR or of the one file that it is", () =>
    Effect.gen(function* () {
      const file = narOf("contents")
      const sha1 = (bytes: string | Uint8Array) => createHash("sha1").update(bytes).digest("hex")

      const flat = yield* receive(file, { digest: { of: "flat", algorithm: "sha1" } }, 7)
      const whole = yield* receive(file, { digest: { of: "nar", algorithm: "sha1" } })
      const none = yield* receive(small, { digest: { of: "flat", algorithm: "sha1" } })

      assert.deepInclude(flat, { digest: sha1("contents"), digestWithoutOffsets: null })
      assert.strictEqual(whole.digest, sha1(file))
      assert.isNull(none.digest)
    })
  )

  it.effect("takes a digest that does not know its own path, in both families", () =>
    Effect.gen(function* () {
      const self = "a".repeat(32)
      const zeros = narOf(`I am ${"\0".repeat(32)}`)
      const nar = yield* receive(
        narOf(`I am ${self}`),
        { digest: { of: "nar", algorithm: "sha256", modulo: self } },
        100
      )

      const offset = zeros.indexOf("\0".repeat(32), zeros.indexOf("I am"))
      assert.strictEqual(nar.digestWithoutOffsets, hashOf(zeros))
      assert.strictEqual(nar.digest, hashOf(Buffer.concat([zeros, Buffer.from(`|${offset}`)])))
    })
  )

  it.effect("says so when a blob is not as long as it was", () =>
    Effect.gen(function* () {
      const nars = yield* NarStore
      const nar = yield* receive(narOf(Buffer.alloc(40_000, "damaged")))
      yield* nars.commit([nar])
      fs.truncateSync(path.join(directory, "nars", nar.narHash.slice(0, 2), `${nar.narHash}.nar`), 100)

      const error = yield* Effect.flip(nars.open(nar.narHash))

      assert.deepInclude(error.cause, { _tag: "Damaged", found: "100" })
    })
  )

  it.effect("removes at its start the blobs that were never registered, and no other", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const nars = yield* NarStore
      const kept = yield* receive(narOf(Buffer.alloc(30_000, "kept")))
      const lost = yield* receive(narOf(Buffer.alloc(30_000, "lost")))
      yield* nars.commit([kept, lost])
      yield* sql`delete from nar where hash = ${Buffer.from(lost.narHash, "hex")}`

      yield* Effect.scoped(Layer.build(Layer.fresh(NarStore.layer).pipe(Layer.provide(FileBlobStore.layer(directory)))))

      assert.include(files(), `${kept.narHash}.nar`)
      assert.notInclude(files(), `${lost.narHash}.nar`)
    })
  )
})
