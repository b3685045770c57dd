import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

describe("the executor", () => {
  it("survives wrong jobs and odd trees under the sanitizers", { timeout: 120_000 }, () => {
    const place = fs.mkdtempSync(path.join(os.tmpdir(), "drover-check-"))
    try {
      const executor = path.resolve(import.meta.dirname, "../../executor")
      const made = spawnSync("make", ["-s", "-C", executor, "check", `OUT=${place}`], { encoding: "utf8" })

      assert.strictEqual(made.status, 0, `${made.stdout}${made.stderr}`)
    } finally {
      fs.rmSync(place, { recursive: true })
    }
  })
})
