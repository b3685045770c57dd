/** The executor as the first process of a machine: what it makes of a bare one, and how machines end. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as fs from "node:fs"
import { noUsage } from "../../src/domain/Attempt.ts"
import { exitOf } from "../../src/sandbox/executor/Ending.ts"
import * as Frame from "../../src/sandbox/executor/Frame.ts"
import * as Run from "../../src/sandbox/executor/Run.ts"
import * as machine from "../support/machine.ts"
import * as sandbox from "../support/sandbox.ts"

const year2100 = 4_102_444_800_000_000_000n

const greeting = Effect.succeed([Frame.seed(new Uint8Array(Frame.seedBytes)), Frame.clock(year2100), Frame.network([])])

/** Runs a script by the shell that every sandbox has. */
const run = Effect.fnUntraced(function* (
  booted: Effect.Success<ReturnType<typeof machine.boot>>,
  script: string,
  outputs: ReadonlyArray<string> = []
) {
  let beats = 0
  const job = { ...sandbox.job({ script, outputs, builder: "/bin/sh" }), inputs: [] }
  const running = yield* Run.start(booted.channel, job, {
    greeting,
    beat: Effect.sync(() => void beats++),
    judge: (exited) =>
      Effect.succeed({
        exit: exitOf(exited, { oomKills: exited.oomKills, machineKilled: false }),
        usage: { ...noUsage, memoryPeakBytes: exited.memoryPeakBytes, memoryHeldBytes: exited.residentBytesMax }
      }),
    lost: Effect.fail
  })
  const log = Buffer.concat([...(yield* Stream.runCollect(running.log))]).toString()
  const ended = yield* running.ended
  return { ...ended, log, running, beats: () => beats }
})

const hostsBoot = fs.readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()

for (const arch of machine.architectures) {
  describe.skipIf(!machine.isThere(arch))(`a machine of ${arch}`, { timeout: 120_000 }, () => {
    it.effect("builds in a kernel of its own, at the time of its host, and ends when it is told", () =>
      Effect.gen(function* () {
        const booted = yield* machine.boot(arch)
        const script = `
          read boot < /proc/sys/kernel/random/boot_id; read _ _ kernel _ < /proc/version; echo $boot; echo $kernel
          read group < /proc/self/cgroup; echo $group; ulimit -Hn; date +%Y; echo made > $out`
        const { exit, log, running } = yield* run(booted, script, ["out"])

        assert.deepStrictEqual(exit, { _tag: "Exited", status: 0 })
        const [boot, ...rest] = log.trim().split("\n")
        assert.notStrictEqual(boot, hostsBoot)
        assert.deepStrictEqual(rest, [machine.guest(arch).kernelVersion, "0::/build", "524288", "2100"])
        assert.include((yield* sandbox.narOf(running)).toString("latin1"), "made\n")
        yield* booted.channel.write(Frame.quit)
        assert.strictEqual((yield* booted.gone).status, 0)
      })
    )
  })
}

describe.skipIf(!machine.isThere("x86_64"))("a machine", { timeout: 120_000 }, () => {
  it.effect("kills a builder that takes all its memory, whole and counted", () =>
    Effect.gen(function* () {
      const booted = yield* machine.boot("x86_64", { memory: "160M" })
      const { exit, usage } = yield* run(booted, "tail /dev/zero & tail /dev/zero; echo survived")

      assert.deepStrictEqual(exit, { _tag: "OutOfMemory", certain: true })
      assert.isAbove(usage.memoryPeakBytes!, 32 * 2 ** 20)
    })
  )

  it.effect("tells what a builder held from the files that were kept beside it, and that it lives", () =>
    Effect.gen(function* () {
      const megabyte = 2 ** 20
      const booted = yield* machine.boot("x86_64", { memory: "320M" })
      // Three that hold 20 MB each at the same time for longer than it takes to look, and a file of 100 MB.
      const { beats, exit, usage } = yield* run(
        booted,
        `for each in 1 2 3; do head -c 20000000 /dev/zero | tail -c 20000000 | (sleep 3; cat > /dev/null) & done; wait
         head -c 100000000 /dev/zero > file`
      )

      assert.deepStrictEqual(exit, { _tag: "Exited", status: 0 })
      assert.isAbove(usage.memoryHeldBytes!, 42 * megabyte)
      assert.isBelow(usage.memoryHeldBytes!, 95 * megabyte)
      assert.isAbove(usage.memoryPeakBytes!, 95 * megabyte)
      assert.isAbove(beats(), 0)
    })
  )

  it.effect("tells a full disk from a builder that fails", () =>
    Effect.gen(function* () {
      const booted = yield* machine.boot("x86_64", { scratchBytes: 8 * 2 ** 20 })
      const { exit } = yield* run(booted, "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done > $out", ["out"])

      assert.deepStrictEqual(exit, { _tag: "OutOfScratch" })
    })
  )

  it.effect("ends when its host does not keep to the order, and says so", () =>
    Effect.gen(function* () {
      const booted = yield* machine.boot("x86_64")
      const job = { ...sandbox.job({ script: "true", builder: "/bin/sh" }), inputs: [] }
      const starting = Run.start(booted.channel, job, {
        greeting: Effect.succeed([Frame.clock(year2100)]),
        judge: () => Effect.die("it has not run"),
        lost: Effect.fail
      })
      const error = yield* Effect.flip(starting)

      assert.include(error.message, "waiting for chance: something else")
      booted.socket.destroy()
      assert.strictEqual((yield* booted.gone).status, 0)
    })
  )

  it.effect("ends when its host has gone, whatever its builder does", () =>
    Effect.gen(function* () {
      const booted = yield* machine.boot("x86_64")
      const job = { ...sandbox.job({ script: "trap '' 1 2 15; while :; do :; done", builder: "/bin/sh" }), inputs: [] }
      yield* Run.start(booted.channel, job, {
        greeting,
        judge: () => Effect.die("it has not ended"),
        lost: Effect.fail
      })
      booted.socket.destroy()

      assert.strictEqual((yield* booted.gone).status, 0)
    })
  )

  it.effect("ends with its kernel", () =>
    Effect.gen(function* () {
      const booted = yield* machine.boot("x86_64", { append: "rdinit=/nothing" })
      const { console, status } = yield* booted.gone

      assert.strictEqual(status, 0)
      assert.include(console, "Kernel panic")
    })
  )
})
