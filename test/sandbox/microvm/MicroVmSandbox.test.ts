import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { Sandbox } from "../../../src/sandbox/Sandbox.ts"
import type { Script } from "../../support/sandbox.ts"
import * as sandbox from "../../support/sandbox.ts"
import * as vm from "../../support/vm.ts"

const exited = (status: number) => ({ _tag: "Exited" as const, status })

/** A process of a machine, as the kernel shows it. */
interface Shown {
  readonly pid: number
  readonly name: string
  readonly fields: ReadonlyMap<string, string>
}

/** Processes under the machines' user ids, in the order in which they were started. */
const running = Effect.map(vm.Place, ({ subUids: { count, first } }): ReadonlyArray<Shown> =>
  fs.readdirSync("/proc").flatMap((name) => {
    const pid = Number(name)
    try {
      const text = Number.isInteger(pid) ? fs.readFileSync(`/proc/${pid}/status`, "utf8") : ""
      const fields = new Map(text.split("\n").map((line) => [line.split(":")[0] ?? "", line.split(/:\s+/)[1] ?? ""]))
      const uid = Number(fields.get("Uid")?.split("\t")[0])
      const isOurs = uid >= first && uid < first + count && !fields.get("State")?.startsWith("Z")
      return isOurs ? [{ pid, name: fields.get("Name") ?? "", fields }] : []
    } catch {
      // It has ended meanwhile.
      return []
    }
  })
)

const isQemu = ({ name }: Shown) => name.startsWith("qemu-system")

/** QEMU itself, the only one. */
const qemu = Effect.map(running, (all) => {
  const found = all.filter(isQemu)
  assert.lengthOf(found, 1)
  return found[0]!
})

/** Starts a script that says "ready" and then goes on; returns once it has said so. */
const untilReady = Effect.fnUntraced(function* (script: string, more: Partial<Script> = {}) {
  const { start } = yield* Sandbox
  const started = yield* start(yield* vm.job({ script: `echo ready; ${script}`, ...more }))
  assert.isTrue((yield* Stream.runHead(started.log))._tag === "Some")
  return started
})

/** The whole of a run but its outputs. */
const run = Effect.fnUntraced(function* (script: Script) {
  const { start } = yield* Sandbox
  const started = yield* start(yield* vm.job(script))
  const log = Buffer.concat([...(yield* Stream.runCollect(started.log))]).toString()
  return { ...(yield* started.ended), log, running: started }
})

/** Nothing runs any more, and nothing is left on disk. */
const nothingIsLeft = Effect.gen(function* () {
  const { dataDirectory } = yield* vm.Place
  assert.deepStrictEqual(yield* running, [])
  assert.deepStrictEqual(fs.readdirSync(path.join(dataDirectory, "vms")), [])
})

layer(vm.layer, { timeout: "120 seconds", excludeTestServices: true })((it) => {
  describe("a build in a machine of its own", { timeout: 120_000 }, () => {
    it.effect("has another kernel and another boot than the host, and hands its output over", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const script = "uname -r; cat /proc/sys/kernel/random/boot_id; id; nproc; echo hi > $out"
          const ended = yield* run({ script })
          const [kernel, boot, id, cores] = ended.log.split("\n")

          assert.deepStrictEqual(ended.exit, exited(0))
          assert.notStrictEqual(kernel, fs.readFileSync("/proc/sys/kernel/osrelease", "utf8").trim())
          assert.notStrictEqual(boot, fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim())
          assert.strictEqual(id, "uid=1000(nixbld) gid=100(nixbld)")
          assert.strictEqual(cores, "1")
          assert.include((yield* sandbox.narOf(ended.running)).toString("latin1"), "hi\n")
          assert.isAbove(ended.usage.memoryPeakBytes ?? 0, 0)
        })
      )
    )

    it.effect.skipIf(process.arch !== "x64")("has been told how fast its time goes, and has not guessed", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { programDirectory } = yield* vm.Place
          const told = Number(execFileSync(path.join(programDirectory, "launcher"), ["ticks"])) / 1000

          const { log } = yield* run({ script: "grep MHz /proc/cpuinfo" })

          // Measured twice, and each time to some millionths.
          assert.closeTo(Number(/: (\S+)/.exec(log)?.[1]), told, told / 10_000)
        })
      )
    )

    it.effect("runs on an emulated machine of another kind", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const script = "read -r version < /proc/version; echo $version; echo hi > $out"
          const foreign = process.arch === "arm64" ? "x86_64-linux" : "aarch64-linux"

          const ended = yield* run({ script, builder: "/bin/sh", system: foreign })

          assert.deepStrictEqual(ended.exit, exited(0))
          assert.match(ended.log, foreign === "aarch64-linux" ? /arm64/ : /amd64/)
        })
      )
    )

    it.effect("is behind a jail with nothing in reach", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { dataDirectory } = yield* vm.Place
          yield* untilReady("sleep 1000")
          const { fields, pid } = yield* qemu
          const inside = (place: string) => fs.readdirSync(`/proc/${pid}/root${place}`).sort()

          for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
            assert.match(fields.get(set) ?? "", /^0+$/, set)
          }
          assert.strictEqual(fields.get("NoNewPrivs"), "1")
          assert.strictEqual(fields.get("Seccomp"), "2")
          // Ours, and QEMU's own, which may be several.
          assert.isAtLeast(Number(fields.get("Seccomp_filters")), 2)
          for (const space of ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]) {
            const link = (of: string) => fs.readlinkSync(`/proc/${of}/ns/${space}`)
            assert.notStrictEqual(link(`${pid}`), link("self"), space)
          }
          assert.deepStrictEqual(inside("/dev"), ["null", "urandom"])
          assert.deepStrictEqual(inside("/guest").includes("kernel"), true)
          assert.deepStrictEqual(inside("/run"), [])
          assert.isFalse(fs.existsSync(`/proc/${pid}/root/${dataDirectory}`))
          for (const place of ["/etc", "/home", "/root", "/proc", "/nix", "/var"]) {
            assert.isFalse(fs.existsSync(`/proc/${pid}/root${place}`), place)
          }
          const interfaces = fs.readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2)
          assert.deepStrictEqual(
            interfaces.map((line) => line.trim().split(":")[0]),
            ["lo"]
          )
          const open = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => fs.readlinkSync(`/proc/${pid}/fd/${fd}`))
          const allowed = /^(\/dev\/(null|urandom)|(socket|pipe):|anon_inode:|\/.*\/scratch \(deleted\)$|\/memfd:)/
          assert.deepStrictEqual(
            open.filter((target) => !allowed.test(target)),
            []
          )
        })
      )
    )

    it.effect("fails as its builder does", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* Effect.scoped(run({ script: "exit 7" }))).exit, exited(7))
      })
    )

    it.effect("is told for certain that it ran out of memory", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { exit } = yield* run({ script: "tail /dev/zero", memoryBytes: 128 * 2 ** 20 })

          assert.deepStrictEqual(exit, { _tag: "OutOfMemory", certain: true })
        })
      )
    )

    it.effect("is gone with its scope, whatever it does", () =>
      Effect.gen(function* () {
        yield* Effect.scoped(untilReady("trap '' TERM INT HUP; while :; do :; done"))

        yield* nothingIsLeft
      })
    )
  })

  describe("a server that starts", () => {
    it.effect("says what it runs, and of what it is made", () =>
      Effect.gen(function* () {
        const { kinds } = yield* Sandbox

        assert.deepStrictEqual(
          kinds.map(({ backend }) => backend),
          ["emulated", "emulated"]
        )
        for (const { versions } of kinds) assert.containsAllKeys(versions, ["guest", "kernel", "qemu", "executor"])
      })
    )
  })

  it.effect("refuses a job for a system that no machine is", () =>
    Effect.gen(function* () {
      const { start } = yield* Sandbox
      const exit = yield* Effect.exit(
        Effect.scoped(Effect.flatMap(vm.job({ script: ":", system: "riscv64-linux" }), start))
      )

      assert.isTrue(Exit.isFailure(exit))
    })
  )
})
