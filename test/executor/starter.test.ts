import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import * as processes from "../support/processes.ts"

const root = path.resolve(import.meta.dirname, "../..")
const isRoot = process.getuid?.() === 0

/** A script built by a server that the starter has started, its data in a place that only root gets to. */
const drive = Effect.fnUntraced(function* (script: string, prepare: (data: string) => void = () => {}) {
  const programs = yield* processes.programs
  const tools = yield* processes.tools
  const hidden = yield* processes.directory
  fs.chmodSync(hidden, 0o700)
  const data = path.join(hidden, "data")
  fs.mkdirSync(data)
  prepare(data)
  const words = ["--data", data, "--program", root, "--program", programs, "--program", path.dirname(process.execPath)]
  const command = [process.execPath, path.join(root, "test/support/drive.ts"), tools, script]
  const done = spawnSync(path.join(programs, "starter"), [...words, "--", ...command], {
    encoding: "utf8",
    cwd: root,
    env: { PATH: process.env["PATH"], DROVER_TEST_DATA: data, DROVER_TEST_PROGRAMS: programs }
  })
  assert.strictEqual(done.status, 0, done.stderr)
  return { data, ...JSON.parse(done.stdout) }
})

describe("a server started as root", () => {
  it.effect.skipIf(!isRoot)("is nobody special, and builds all the same", () =>
    Effect.gen(function* () {
      const { data, exit, log, nar, uid } = yield* drive("echo building; mkdir a; chmod 0 a; echo x > $out")

      assert.deepStrictEqual(exit, { _tag: "Exited", status: 0 })
      assert.strictEqual(log, "building\n")
      assert.include(Buffer.from(nar, "base64").toString("latin1"), "x\n")
      assert.isAbove(uid, 0)
      assert.strictEqual(fs.statSync(data).uid, uid)
      assert.deepStrictEqual(fs.readdirSync(path.join(data, "scratch")), [])
    })
  )

  it.effect.skipIf(!isRoot)("has the same control groups as others that start at that moment", () =>
    Effect.gen(function* () {
      const programs = yield* processes.programs
      const told = Effect.gen(function* () {
        const words = ["--data", yield* processes.directory, "--", "/bin/sh", "-c", "echo $@", "sh"]
        const started = promisify(execFile)(path.join(programs, "starter"), words, { encoding: "utf8" })
        const { stdout } = yield* Effect.promise(() => started)
        return [...stdout.matchAll(/--cgroup (\w+)=/g)].map(([, controller]) => controller)
      })

      const all = yield* Effect.all(
        Array.from({ length: 48 }, () => told),
        { concurrency: 6 }
      )

      assert.deepStrictEqual([...new Set(all.map((controllers) => controllers.join(" ")))], [all[0]?.join(" ")])
    })
  )

  it.effect.skipIf(!isRoot)("tells a full disk from a builder that fails", () =>
    Effect.gen(function* () {
      const script = "head -c 100000000 /dev/zero > f"
      const { exit } = yield* drive(script, (data) => {
        fs.mkdirSync(path.join(data, "scratch"))
        spawnSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0777", "none", path.join(data, "scratch")])
      }).pipe(Effect.ensuring(unmountAll))

      assert.deepStrictEqual(exit, { _tag: "OutOfScratch" })
    })
  )
})

/** What the test has mounted. */
const unmountAll = Effect.sync(() => {
  for (const line of fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [, , , , target = ""] = line.split(" ")
    if (/\/drover-test-[^/]+\/data\/scratch$/.test(target)) spawnSync("umount", [target])
  }
})
