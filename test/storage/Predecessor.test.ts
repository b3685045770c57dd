import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Predecessor from "../../src/storage/Predecessor.ts"
import { temporaryDirectory } from "../support/postgres.ts"

/** A process that stands for a server, gone when the scope closes. */
const server = Effect.acquireRelease(
  Effect.sync(() => {
    const child = spawn("sleep", ["1000"], { stdio: "ignore" })
    const ended = new Promise<string | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)))
    return { child, pid: child.pid ?? 0, ended: Effect.promise(() => ended) }
  }),
  ({ child, ended }) =>
    Effect.andThen(
      Effect.sync(() => child.kill("SIGKILL")),
      ended
    )
)

/** What it would have left in its data directory. */
const noteOf = Effect.fnUntraced(function* (directory: string, pid: number) {
  yield* Effect.scoped(Layer.build(Predecessor.layer(directory)))
  const name = path.join(directory, "server")
  const own = JSON.parse(fs.readFileSync(name, "utf8"))
  const startedAt = fs
    .readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ")[19]
  return { ...own, pid, startedAt }
})

const isAlive = (pid: number) => !/^\d+ \(.*\) [ZX]/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))

describe("a server that had the data directory before", () => {
  it.live("is gone when the next one begins, also where it was stopped", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const { child, ended, pid } = yield* server
      const note = yield* noteOf(directory, pid)
      fs.writeFileSync(path.join(directory, "server"), JSON.stringify(note))
      child.kill("SIGSTOP")

      yield* Effect.scoped(Layer.build(Predecessor.layer(directory)))

      assert.strictEqual(yield* ended, "SIGKILL")
      const own = JSON.parse(fs.readFileSync(path.join(directory, "server"), "utf8"))
      assert.strictEqual(own.pid, process.pid)
      // Nor is it one that had it before itself.
      yield* Effect.scoped(Layer.build(Predecessor.layer(directory)))
    }).pipe(Effect.scoped)
  )

  it.live.each([
    { what: "started at another time", change: { startedAt: "1" } },
    { what: "is of another boot", change: { boot: "another" } },
    { what: "is of another namespace", change: { namespace: "pid:[1]" } }
  ])("is no other process that has its number, and $what", ({ change }) =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const { pid } = yield* server
      const note = yield* noteOf(directory, pid)
      fs.writeFileSync(path.join(directory, "server"), JSON.stringify({ ...note, ...change }))

      yield* Effect.scoped(Layer.build(Predecessor.layer(directory)))

      assert.isTrue(isAlive(pid))
    }).pipe(Effect.scoped)
  )

  it.live("is nobody where its note cannot be read", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      fs.writeFileSync(path.join(directory, "server"), "{")
      yield* Effect.scoped(Layer.build(Predecessor.layer(directory)))
      assert.strictEqual(JSON.parse(fs.readFileSync(path.join(directory, "server"), "utf8")).pid, process.pid)
    }).pipe(Effect.scoped)
  )
})
