/**
 * A server's storage in a process of its own, for suites that kill one: takes NARs without end, and says of each when
 * it is committed.
 *
 *   node storageServer.ts <data directory> <words to launch PostgreSQL with…>
 */
import { Effect, Layer } from "effect"
import { createHash } from "node:crypto"
import * as Source from "../../src/protocol/wire/Source.ts"
import * as FileBlobStore from "../../src/storage/blob/FileBlobStore.ts"
import * as Database from "../../src/storage/Database.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { Postgres } from "../../src/storage/Postgres.ts"
import { narOf } from "./nar.ts"

const [, , dataDirectory = "", ...launch] = process.argv

const Storage = NarStore.layer.pipe(
  Layer.provide(FileBlobStore.layer(dataDirectory)),
  Layer.provide(Database.layer),
  Layer.provide(Postgres.embedded({ dataDirectory, launch }))
)

const say = (line: string) => Effect.sync(() => process.stdout.write(`${line}\n`))

const takeOne = Effect.fnUntraced(function* (index: number) {
  const nars = yield* NarStore
  // Every other one is small enough for a row.
  const contents = createHash("sha256").update(`${process.pid} ${index}`).digest("hex")
  const nar = yield* nars.receive(Source.fromChunks([narOf(contents.repeat(index % 2 === 0 ? 1 : 1000))]))
  yield* nars.commit([nar])
  yield* say(`committed ${nar.narHash}`)
}, Effect.scoped)

const main = Effect.gen(function* () {
  yield* say("ready")
  for (let index = 0; ; index += 4) {
    yield* Effect.all([takeOne(index), takeOne(index + 1), takeOne(index + 2), takeOne(index + 3)], {
      concurrency: "unbounded"
    })
  }
})

await Effect.runPromise(Effect.scoped(Effect.provide(main, Storage)))
