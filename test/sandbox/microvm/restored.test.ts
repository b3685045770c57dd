/** Machines that begin as copies of one that has booted, with every process around them that the product has. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Metric, Schedule, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { AccountId } from "../../../src/domain/Account.ts"
import { Sandbox } from "../../../src/sandbox/Sandbox.ts"
import * as Attributes from "../../../src/telemetry/Attributes.ts"
import * as Metrics from "../../../src/telemetry/Metrics.ts"
import * as machineState from "../../support/machineState.ts"
import * as processes from "../../support/processes.ts"
import type { Script } from "../../support/sandbox.ts"
import * as sandbox from "../../support/sandbox.ts"
import * as vm from "../../support/vm.ts"

/** How many machines have come to be in a way. */
const counted = (origin: "booted" | "restored") =>
  Effect.map(
    Metric.value(Metrics.of(Metrics.machineStart, { [Attributes.machineOrigin]: origin })),
    ({ count }) => count
  )

const run = Effect.fnUntraced(function* (script: Script, account = "ann") {
  const { start } = yield* Sandbox
  const restored = yield* counted("restored")
  const job = yield* vm.job(script)
  const started = yield* start({ ...job, account: AccountId.make(account) })
  const wasRestored = (yield* counted("restored")) > restored
  const log = Buffer.concat([...(yield* Stream.runCollect(started.log))]).toString()
  const ended = yield* started.ended
  return { ...ended, log, wasRestored, running: started }
})

const once = (script: Script, account?: string) => Effect.scoped(run(script, account))

const hello = { script: "echo hello" }

/** Builds that have the same machine, until one begins as a copy. */
const untilRestored = (script: Script, account?: string) =>
  once(script, account).pipe(
    Effect.repeat({ until: ({ wasRestored }) => wasRestored, schedule: Schedule.recurs(20) }),
    Effect.tap(({ wasRestored }) => Effect.sync(() => assert.isTrue(wasRestored, "none of twenty was restored")))
  )

const templates = { sharing: "account", keptBackBytes: 2 * 2 ** 30 } as const

layer(
  vm.layerWith(() => Effect.succeed({ templates })),
  { timeout: "120 seconds", excludeTestServices: true }
)((it) => {
  describe("a machine that begins as a copy", { timeout: 120_000 }, () => {
    it.effect("is there from the third of a kind on, and does what one does that boots", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const first = yield* once(hello)
          const second = yield* once(hello)
          assert.deepStrictEqual([first.wasRestored, second.wasRestored], [false, false])
          yield* untilRestored(hello)

          const ended = yield* run({ script: "uname -r; id; nproc; df -k /build | tail -1; echo hi > $out" })

          assert.isTrue(ended.wasRestored)
          assert.deepStrictEqual(ended.exit, { _tag: "Exited", status: 0 })
          assert.match(ended.log, /uid=1000\(nixbld\) gid=100\(nixbld\)\n1\n/)
          assert.include((yield* sandbox.narOf(ended.running)).toString("latin1"), "hi\n")
          assert.notDeepEqual(ended.inputsRead, [])
        })
      )
    )

    it.effect("shares no number with the next one, and has the time", () =>
      Effect.gen(function* () {
        yield* untilRestored(hello)
        const script = `
          cat /proc/sys/kernel/random/boot_id; cat /proc/sys/kernel/random/uuid; od -An -N32 -tx1 /dev/urandom
          mktemp -d; mktemp; echo $$ $RANDOM`
        const seen = yield* Effect.forEach([1, 2, 3], () => once({ script: `${script}; date +%s` }))

        assert.deepStrictEqual(
          seen.map(({ wasRestored }) => wasRestored),
          [true, true, true]
        )
        const lines = seen.map(({ log }) => log.trim().split("\n"))
        // The last is the time, of which more than one can have the same second.
        for (const index of lines[0]!.slice(0, -1).keys()) {
          if (/^\d+ /.test(lines[0]![index]!)) continue
          assert.lengthOf(new Set(lines.map((each) => each[index])), 3, lines[0]![index])
        }
        for (const each of lines) assert.closeTo(Number(each.at(-1)), Date.now() / 1000, 60)
      })
    )

    it.effect.skipIf(process.arch !== "x64")("goes by the counter that its template was told of", () =>
      Effect.gen(function* () {
        yield* untilRestored(hello)
        const script = `
          grep MHz /proc/cpuinfo; read before _ < /proc/uptime; sleep 1; read after _ < /proc/uptime; echo $before $after`
        const { log, wasRestored } = yield* once({ script })
        const { programDirectory } = yield* vm.Place
        const told = Number(execFileSync(path.join(programDirectory, "launcher"), ["ticks"])) / 1000
        const [megahertz, times] = log.trim().split("\n")
        const [before = 0, after = 0] = (times ?? "").split(" ").map(Number)

        assert.isTrue(wasRestored)
        assert.closeTo(Number(/: (\S+)/.exec(megahertz ?? "")?.[1]), told, told / 10_000)
        // Uptimes are told in hundredths.
        assert.isAtLeast(after - before, 0.99)
      })
    )

    it.effect("is of no other account's template, and of no other size", () =>
      Effect.gen(function* () {
        yield* untilRestored(hello)

        const others = yield* once(hello, "bob")
        const larger = yield* once({ ...hello, memoryBytes: 512 * 2 ** 20 })

        assert.deepStrictEqual([others.wasRestored, larger.wasRestored], [false, false])
      })
    )

    it.effect("boots where its template is no good, unseen by its client, and is not tried again soon", () =>
      Effect.gen(function* () {
        const { dataDirectory } = yield* vm.Place
        yield* untilRestored(hello)
        const states = machineState.statesIn(dataDirectory)
        for (const fd of states) fs.ftruncateSync(Number(fd), 1_000_000)

        const damaged = yield* once(hello)
        const next = yield* once(hello)

        assert.isAbove(states.length, 0)
        assert.deepStrictEqual([damaged.wasRestored, next.wasRestored], [false, false])
        assert.deepStrictEqual([damaged.log, next.log], ["hello\n", "hello\n"])
      })
    )

    it.effect("leaves nothing on disk and no process", () =>
      Effect.gen(function* () {
        const { dataDirectory, subUids } = yield* vm.Place
        yield* once(hello)

        assert.deepStrictEqual(processes.running(subUids), [])
        assert.deepStrictEqual(fs.readdirSync(path.join(dataDirectory, "vms")), [])
      })
    )
  })
})
