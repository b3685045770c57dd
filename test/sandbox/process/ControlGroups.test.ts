/** What is read and written of control groups, in directories that look like theirs. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import * as ControlGroups from "../../../src/sandbox/process/ControlGroups.ts"
import * as processes from "../../support/processes.ts"

const limits = { memoryBytes: 2 ** 30, cores: 2, processesMax: 100 }

/** A group below these controllers, and a way to say what its kernel counts. */
const group = Effect.fnUntraced(function* (...controllers: ReadonlyArray<string>) {
  const place = yield* processes.directory
  const groups = controllers.map((controller) => ({ controller, directory: path.join(place, controller) }))
  for (const { directory } of groups) fs.mkdirSync(directory)
  const made = yield* ControlGroups.make(groups, "attempt", limits)
  const say = (controller: string, file: string, text: string) =>
    fs.writeFileSync(path.join(place, controller, "attempt", file), text)
  const read = (controller: string, file: string) =>
    fs.readFileSync(path.join(place, controller, "attempt", file), "utf8")
  return { ...made, say, read }
})

const looked = TestClock.adjust("1 second")

describe("a control group", () => {
  it.effect("of version 2 limits, and tells what was used", () =>
    Effect.gen(function* () {
      const { counted, read, say } = yield* group("unified")
      assert.strictEqual(read("unified", "memory.max"), `${2 ** 30}`)
      assert.strictEqual(read("unified", "cpu.max"), "200000 100000")

      say("unified", "cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n")
      say("unified", "memory.events", "oom 3\noom_kill 2\noom_group_kill 1\n")
      say("unified", "memory.peak", "9000\n")
      say("unified", "memory.stat", "anon 3\nshmem 4\n")
      yield* looked
      say(
        "unified",
        "memory.stat",
        "anon 100\nfile 5000\nkernel 50\nslab 90\nslab_unreclaimable 7\nshmem 20\nanon_thp 40\n"
      )
      yield* looked
      say("unified", "memory.stat", "anon 1\nshmem 2\n")
      yield* looked

      assert.deepStrictEqual(yield* counted, {
        oomKills: 2,
        memoryPeakBytes: 9000,
        memoryHeldBytes: 127,
        cpuUserMicroseconds: 20,
        cpuSystemMicroseconds: 10
      })
    })
  )

  it.effect("of version 1 limits, and tells what was used", () =>
    Effect.gen(function* () {
      const { counted, read, say } = yield* group("memory", "cpu", "pids")
      assert.strictEqual(read("memory", "memory.limit_in_bytes"), `${2 ** 30}`)
      assert.strictEqual(read("cpu", "cpu.cfs_quota_us"), "200000")
      assert.strictEqual(read("pids", "pids.max"), "100")

      say("cpu", "cpuacct.usage_user", "20000\n")
      say("cpu", "cpuacct.usage_sys", "10000\n")
      say("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
      say("memory", "memory.max_usage_in_bytes", "9000\n")
      say(
        "memory",
        "memory.stat",
        "cache 1\nrss 2\ntotal_cache 5000\ntotal_rss 100\ntotal_rss_huge 64\ntotal_shmem 27\n"
      )
      yield* looked

      assert.deepStrictEqual(yield* counted, {
        oomKills: 2,
        memoryPeakBytes: 9000,
        memoryHeldBytes: 127,
        cpuUserMicroseconds: 20,
        cpuSystemMicroseconds: 10
      })
    })
  )

  it.effect("tells nothing that nobody counts", () =>
    Effect.gen(function* () {
      const { counted } = yield* group("pids")
      yield* looked
      assert.deepStrictEqual(yield* counted, {
        oomKills: null,
        memoryPeakBytes: null,
        memoryHeldBytes: null,
        cpuUserMicroseconds: null,
        cpuSystemMicroseconds: null
      })
    })
  )
})
