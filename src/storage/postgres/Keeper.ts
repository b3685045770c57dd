/**
 * Sees to it that a database whose Drover was killed does not run for ever.
 *
 * A shell waits at a pipe. A word means that Drover ends in order and has no need of it. The pipe's end without a word
 * means that Drover was killed: the database stays for a while, since the next Drover takes it over without a
 * recovery, and is then ended in good order unless somebody has.
 */
import { Effect, type Scope } from "effect"
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import { type StorageError, file } from "../StorageError.ts"
import type { Postmaster } from "./Postmaster.ts"

/** How long a database stays after its Drover was killed. */
const graceSeconds = 300

/** $1: the database's process; $2: the file that names it; $3: the file that names the keeper in charge; $4: its name. */
const script = `
read -r word && exit 0
left=${graceSeconds}
while [ $left -gt 0 ]; do
  sleep 1
  left=$((left - 1))
  read -r pid < "$2" && [ "$pid" = "$1" ] || exit 0
  read -r keeper < "$3" && [ "$keeper" = "$4" ] || exit 0
done
kill -INT "$1"
`

/** Keeps watch until the scope closes. A new keeper relieves the one before. */
export const watch = Effect.fn("Keeper.watch")(function* (
  directory: string,
  postmaster: Postmaster
): Effect.fn.Return<void, StorageError, Scope.Scope> {
  const name = randomUUID()
  const charge = `${directory}.keeper`
  yield* file("watching over the database", charge, () => fs.writeFile(charge, `${name}\n`, { mode: 0o600 }))
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const words = ["-c", script, "drover-keeper", `${postmaster.pid}`, `${directory}/postmaster.pid`, charge, name]
      const child = spawn("/bin/sh", words, {
        detached: true,
        stdio: ["pipe", "ignore", "ignore"],
        env: { PATH: "/usr/bin:/bin" }
      })
      // It is a safeguard: without one the database still works.
      child.on("error", () => {})
      child.stdin.on("error", () => {})
      child.unref()
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.pid === undefined) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.ref()
        child.stdin.end("end\n")
      })
  )
})
