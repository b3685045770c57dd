import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"

const program = path.resolve(import.meta.dirname, "../support/withoutDescriptors.ts")

describe("what sandboxes are made of", () => {
  it("is refused where no descriptors are left, costs no user id, and ends nobody else", async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-descriptors-"))
    try {
      const words = ["-c", 'ulimit -n 128; exec "$0" "$@"', process.execPath, program, directory]
      const { stdout } = await promisify(execFile)("/bin/sh", words)

      assert.deepStrictEqual(JSON.parse(stdout), {
        launcher: "refused",
        sweep: "refused",
        machine: "refused",
        disks: "refused",
        scratch: "refused",
        gone: 1,
        given: { executor: 1, builder: 2 }
      })
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  })
})
