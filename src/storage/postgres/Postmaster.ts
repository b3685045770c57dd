/**
 * The server process on a data directory: whether one runs, starting one, ending it.
 *
 * It is known by `postmaster.pid`, which PostgreSQL itself writes and keeps: the process, and the directory of its
 * socket. A server outlives a Drover that was killed, and the next one finds it there. PostgreSQL refuses a second
 * server on the same directory.
 */
import { Effect, Schedule } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseUnavailable, StorageError, file } from "../StorageError.ts"
import type { Programs } from "./Programs.ts"

export interface Postmaster {
  readonly pid: number
  readonly socketDirectory: string
  readonly isAlive: Effect.Effect<boolean>
}

/** Few clients, little memory, every commit on disk before it is answered. */
const settings: { readonly [name: string]: string } = {
  listen_addresses: "",
  unix_socket_permissions: "0700",
  max_connections: "40",
  shared_buffers: "32MB",
  huge_pages: "off",
  // No worker processes but those that keep tables in order.
  io_method: "sync",
  max_parallel_workers_per_gather: "0",
  autovacuum_max_workers: "1",
  max_logical_replication_workers: "0",
  // Nobody replicates, so the log of writes holds only what recovery needs.
  wal_level: "minimal",
  max_wal_senders: "0",
  max_wal_size: "256MB",
  jit: "off",
  fsync: "on",
  synchronous_commit: "on",
  log_line_prefix: "%m [%p] ",
  log_checkpoints: "off"
}

/** The longest path of a socket that Linux takes, less the name that PostgreSQL puts behind the directory. */
const socketDirectoryMax = 107 - "/.s.PGSQL.5432".length

const socketPrefix = path.join(os.tmpdir(), "drover-postgres-")
const operation = "starting the database"

/** The file of the socket, for clients. */
export const socket = (postmaster: Postmaster): string => `${postmaster.socketDirectory}/.s.PGSQL.5432`

/** Runs, and is PostgreSQL: the id of a dead process is given out again, and the dead one may not be buried yet. */
const isPostgres = (pid: number): Effect.Effect<boolean> =>
  Effect.promise(() =>
    fs.readFile(`/proc/${pid}/stat`, "utf8").then(
      (stat) => /^\d+ \(postgres\) [^ZX]/.test(stat),
      () => false
    )
  )

/** The server that runs on this directory, if one does. */
export const running = Effect.fnUntraced(function* (
  directory: string
): Effect.fn.Return<Postmaster | null, StorageError> {
  const pidFile = `${directory}/postmaster.pid`
  const text = yield* file(operation, pidFile, () => readIfThere(pidFile))
  if (text === null) return null
  const lines = text.split("\n")
  const pid = Number(lines[0])
  const socketDirectory = lines[4]
  if (socketDirectory !== undefined && (yield* isPostgres(pid))) {
    return { pid, socketDirectory, isAlive: isPostgres(pid) }
  }
  // PostgreSQL forgives a dead process in this file, but refuses to start while any other lives under that number.
  yield* file(operation, pidFile, () => fs.rm(pidFile, { force: true }))
  if (socketDirectory?.startsWith(socketPrefix) === true) {
    yield* file(operation, socketDirectory, () => fs.rm(socketDirectory, { recursive: true, force: true }))
  }
  return null
})

/** Where the socket goes: beside the data, or, where that path is too long for a socket, in a directory of our own. */
export const makeSocketDirectory = (directory: string): Effect.Effect<string, StorageError> => {
  const beside = `${directory}.socket`
  return file(operation, beside, async () => {
    if (Buffer.byteLength(beside) > socketDirectoryMax) return await fs.mkdtemp(socketPrefix)
    await fs.mkdir(beside, { recursive: true, mode: 0o700 })
    return beside
  })
}

/** Starts a server and does not wait for it to be ready. Its words go to `directory`.log. */
export const start = Effect.fnUntraced(function* (options: {
  readonly directory: string
  readonly socketDirectory: string
  readonly programs: Programs
  readonly launch: ReadonlyArray<string>
  readonly settings: { readonly [name: string]: string }
}): Effect.fn.Return<Postmaster, StorageError> {
  const { directory, launch, programs, socketDirectory } = options
  const [command = programs.postgres, ...words] = [
    ...launch,
    programs.postgres,
    "-D",
    directory,
    "-k",
    socketDirectory,
    ...Object.entries({ ...settings, ...options.settings }).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  ]
  const child = yield* file(operation, command, async () => {
    // Nothing runs here, but one that is dead and not buried keeps its number, and that is all PostgreSQL asks for. Of two
    // that start at once, the one that comes second is refused by the other file that names the first.
    await fs.rm(`${socketDirectory}/.s.PGSQL.5432.lock`, { force: true })
    const log = await fs.open(`${directory}.log`, "w", 0o600)
    try {
      return await new Promise<ChildProcess>((resolve, reject) => {
        // A session of its own: an interrupt typed at a terminal must reach Drover, which then ends it in order.
        const child = spawn(command, words, {
          detached: true,
          stdio: ["ignore", log.fd, log.fd],
          env: { LC_ALL: "C", TZ: "UTC", PATH: "/usr/bin:/bin" }
        })
        child.once("error", reject)
        child.once("spawn", () => resolve(child))
        child.unref()
      })
    } finally {
      await log.close()
    }
  })
  return {
    // It has been spawned, so it has one.
    pid: child.pid ?? 0,
    socketDirectory,
    // What launches it may not be PostgreSQL yet.
    isAlive: Effect.sync(() => child.exitCode === null && child.signalCode === null)
  }
}, Effect.uninterruptible)

/** What the server last said, for the error of one that would not start. */
export const lastWords = (directory: string): Effect.Effect<string> =>
  Effect.promise(() =>
    fs.readFile(`${directory}.log`, "utf8").then(
      (text) => text.trim().split("\n").slice(-5).join("; "),
      () => ""
    )
  )

/** Ends the server: its clients are sent away and all is written; less and less kindly if that takes too long. */
export const stop = Effect.fn("Postmaster.stop")(function* (postmaster: Postmaster) {
  for (const [signal, patience] of [
    ["SIGINT", "30 seconds"],
    ["SIGQUIT", "5 seconds"],
    ["SIGKILL", "5 seconds"]
  ] as const) {
    yield* Effect.sync(() => {
      try {
        process.kill(postmaster.pid, signal)
      } catch {
        // It is gone, which is what was wanted.
      }
    })
    const isGone = yield* postmaster.isAlive.pipe(
      Effect.repeat({ while: (alive) => alive, schedule: Schedule.spaced("10 millis") }),
      Effect.as(true),
      Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.succeed(false) })
    )
    if (isGone) break
  }
  yield* Effect.promise(() => fs.rm(postmaster.socketDirectory, { recursive: true, force: true }))
})

export const didNotStart = (detail: string) =>
  new StorageError({ operation, cause: new DatabaseUnavailable({ detail }) })

const readIfThere = (name: string): Promise<string | null> =>
  fs.readFile(name, "utf8").catch((error) => {
    if (error.code === "ENOENT") return null
    throw error
  })
