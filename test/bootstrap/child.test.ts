/** The bootstrap's ends: what it starts is told once, is waited for, and does not outlive npm. */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import * as readline from "node:readline"

const child = path.resolve("bootstrap/child.mjs")

/** Counts the signals it gets, and ends well a moment after the first, when a second would have come. */
const server = `
  let count = 0
  const count1 = () => { if (++count === 1) setTimeout(() => { console.log("told", count); process.exit(0) }, 300) }
  process.on("SIGINT", count1); process.on("SIGTERM", count1)
  setInterval(() => {}, 1000); console.log("ready", process.pid)`

/** A bootstrap that only serves. */
const bootstrap = `
  const { serve } = await import(${JSON.stringify(child)})
  process.exitCode = await serve([process.execPath, "-e", ${JSON.stringify(server)}])`

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const lineOf = async (lines: AsyncIterableIterator<string>) => String((await lines.next()).value)

describe("the bootstrap", () => {
  it.each(["SIGINT", "SIGTERM"] as const)(
    "tells the server of %s once, to whomever and however often it is sent",
    async (signal) => {
      const process_ = spawn(process.execPath, ["--input-type=module", "-e", bootstrap], {
        detached: true,
        stdio: ["ignore", "pipe", "inherit"]
      })
      const lines = readline.createInterface({ input: process_.stdout })[Symbol.asyncIterator]()
      assert.match(await lineOf(lines), /^ready/)

      // To the whole group, as a terminal does it, and to the process, as npm then does.
      process.kill(-process_.pid!, signal)
      process_.kill(signal)

      assert.strictEqual(await lineOf(lines), "told 1")
      assert.deepStrictEqual(await once(process_, "exit"), [0, null])
    }
  )

  it("ends the server when npm is killed", async () => {
    const npm = `
      const { spawn } = await import("node:child_process")
      spawn(process.execPath, ["--input-type=module", "-e", ${JSON.stringify(bootstrap)}],
        { stdio: "inherit", env: { ...process.env, npm_lifecycle_event: "start" } })`
    const process_ = spawn(process.execPath, ["--input-type=module", "-e", npm], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    const lines = readline.createInterface({ input: process_.stdout })[Symbol.asyncIterator]()
    const [, pid] = (await lineOf(lines)).split(" ")
    assert.isTrue(isAlive(Number(pid)))

    process_.kill("SIGKILL")

    assert.strictEqual(await lineOf(lines), "told 1")
  })

  it("gives the server's own status as its own", async () => {
    const failing = `
      const { serve } = await import(${JSON.stringify(child)})
      process.exitCode = await serve([process.execPath, "-e", "process.exit(3)"])`
    const process_ = spawn(process.execPath, ["--input-type=module", "-e", failing], { stdio: "inherit" })

    assert.deepStrictEqual(await once(process_, "exit"), [3, null])
  })
})
