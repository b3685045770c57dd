/**
 * The directory in which PostgreSQL keeps its data (its own word is cluster): made once, and only taken whole.
 *
 * It is made under another name and renamed: a half-made one, from a crash in the middle, looks whole to PostgreSQL.
 */
import { Effect } from "effect"
import { execFile } from "node:child_process"
import * as fs from "node:fs/promises"
import { promisify } from "node:util"
import { DatabaseUnavailable, StorageError, file } from "../StorageError.ts"
import * as Programs from "./Programs.ts"

/** The role that owns everything. It has no password: the socket's directory lets nobody else in. */
export const role = "drover"

const operation = "preparing the database's directory"
const run = promisify(execFile)

export const prepare = Effect.fn("Cluster.prepare")(function* (options: {
  readonly directory: string
  readonly programs: Programs.Programs
  /** What comes before every program's own command line; empty as a rule. */
  readonly launch: ReadonlyArray<string>
  /** False for a server that does not wait for the disk either. */
  readonly isSynced: boolean
}) {
  const { directory, isSynced, launch, programs } = options
  const found = yield* file(operation, directory, () =>
    fs.readFile(`${directory}/PG_VERSION`, "utf8").then(
      (text) => text.trim(),
      (error) => {
        if (error.code === "ENOENT") return null
        throw error
      }
    )
  )
  if (found === Programs.version) return
  if (found !== null) {
    return yield* new StorageError({
      operation,
      cause: new DatabaseUnavailable({
        detail: `${directory}: expected data of PostgreSQL ${Programs.version}, found version ${found}`
      })
    })
  }
  const unfinished = `${directory}.new`
  yield* file(operation, unfinished, () => fs.rm(unfinished, { recursive: true, force: true }))
  const [command = programs.initdb, ...words] = [
    ...launch,
    programs.initdb,
    "-D",
    unfinished,
    "-E",
    "UTF8",
    "--locale=C",
    "-U",
    role,
    "--auth=trust",
    "--no-instructions",
    ...(isSynced ? [] : ["--no-sync"])
  ]
  yield* Effect.tryPromise({
    // An environment of its own: PostgreSQL reads settings from variables that are not ours to pass on.
    try: () => run(command, words, { env: { LC_ALL: "C", PATH: "/usr/bin:/bin" } }),
    catch: (error) => new StorageError({ operation, cause: new DatabaseUnavailable({ detail: String(error) }) })
  })
  yield* file(operation, directory, () => fs.rename(unfinished, directory))
})
