import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"

const module = path.resolve(import.meta.dirname, "../../bootstrap/lock.mjs")

/** Takes it again and again, and says when somebody else has it as well. */
const script = (directory: string) => `
  import fs from "node:fs"
  import { lock } from ${JSON.stringify(module)}
  const inside = ${JSON.stringify(path.join(directory, "inside"))}
  for (let round = 0; round < 200; round++) {
    const release = await lock(${JSON.stringify(directory)}, 0)
    try {
      fs.writeFileSync(inside, "", { flag: "wx" })
    } catch {
      console.log("both")
    }
    await new Promise((resolve) => setImmediate(resolve))
    fs.rmSync(inside, { force: true })
    release()
  }`

describe("the lock of a set-up", () => {
  it("is one process's at a time", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-lock-"))
    try {
      const words = ["--input-type=module", "-e", script(directory)]
      const all = await Promise.all([0, 1, 2, 3].map(() => promisify(execFile)(process.execPath, words)))

      assert.deepStrictEqual(
        all.map(({ stdout }) => stdout.replace(/^setup: .*\n/gm, "")),
        ["", "", "", ""]
      )
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  })

  it("is not kept by who has died with it", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-lock-"))
    try {
      const dead = await promisify(execFile)(process.execPath, ["-p", "process.pid"])
      fs.writeFileSync(path.join(directory, "setup.lock"), dead.stdout.trim())
      await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script(directory)])
      assert.deepStrictEqual(fs.readdirSync(directory), [])
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  })
})
