/** What a server that is killed in the middle of its work leaves to the next. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"
import type { Source } from "../../src/protocol/wire/Source.ts"
import * as FileBlobStore from "../../src/storage/blob/FileBlobStore.ts"
import * as Database from "../../src/storage/Database.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import * as Postmaster from "../../src/storage/postgres/Postmaster.ts"
import { Postgres } from "../../src/storage/Postgres.ts"
import { hashOf } from "../support/nar.ts"
import { launch, linkLibraries, temporaryDirectory } from "../support/postgres.ts"

const program = fileURLToPath(new URL("../support/storageServer.ts", import.meta.url))

/** Runs a server until it has told of so many commits, kills it, and returns what it had told of by then. */
const killedAfter = (dataDirectory: string, commits: number) =>
  Effect.promise(async () => {
    const child = spawn(process.execPath, [program, dataDirectory, ...launch], { stdio: ["ignore", "pipe", "inherit"] })
    const told: Array<Sha256> = []
    for await (const line of readline.createInterface({ input: child.stdout })) {
      const [word, hash = ""] = line.split(" ")
      if (word !== "committed") continue
      told.push(Sha256.make(hash))
      if (told.length === commits) child.kill("SIGKILL")
    }
    return told
  })

const readAll = Effect.fnUntraced(function* <E, R>(source: Source<E, R>) {
  const parts: Array<Uint8Array> = []
  for (let chunk = yield* source.peek; chunk.length > 0; chunk = yield* source.peek) {
    parts.push(new Uint8Array(chunk))
    source.advance(chunk.length)
  }
  return Buffer.concat(parts)
})

const pidOf = (directory: string) =>
  Number(fs.readFileSync(path.join(directory, "postgres/postmaster.pid"), "utf8").split("\n")[0])

describe("a server that was killed", () => {
  it.live("has kept all that it told of, left nothing half done, and its database runs on", () =>
    Effect.gen(function* () {
      yield* linkLibraries
      const directory = yield* temporaryDirectory
      const told = yield* killedAfter(directory, 50)
      const before = pidOf(directory)

      const Storage = NarStore.layer.pipe(
        Layer.provideMerge(FileBlobStore.layer(directory)),
        Layer.provideMerge(Database.layer),
        Layer.provide(Postgres.embedded({ dataDirectory: directory, launch }))
      )
      yield* Effect.gen(function* () {
        assert.strictEqual(pidOf(directory), before, "the database was not taken over")
        const nars = yield* NarStore
        for (const hash of told) {
          assert.strictEqual(hashOf(yield* Effect.flatMap(nars.open(hash), readAll)), hash)
        }
        const sql = yield* SqlClient.SqlClient
        const rows = yield* sql<{ hash: string }>`select encode(hash, 'hex') as hash from nar where contents is null`
        const files = fs.readdirSync(path.join(directory, "nars"), { recursive: true, withFileTypes: true })
        const names = files.filter((entry) => entry.isFile()).map(({ name }) => name)
        assert.deepStrictEqual(names.sort(), rows.map(({ hash }) => `${hash}.nar`).sort())
      }).pipe(Effect.scoped, Effect.provide(Storage, { local: true }))

      assert.isNull(yield* Postmaster.running(path.join(directory, "postgres")), "the database runs on")
    }).pipe(Effect.scoped)
  )
})
