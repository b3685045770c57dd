/**
 * Machines that begin as copies of one that has booted: how their templates are made, by machines that play a part; and
 * the real ones, with every process around them that the product has.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Metric, Schedule, type Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { AccountId } from "../../../src/domain/Account.ts"
import * as Copies from "../../../src/sandbox/microvm/Copies.ts"
import type * as Machines from "../../../src/sandbox/microvm/Machines.ts"
import * as Qmp from "../../../src/sandbox/microvm/Qmp.ts"
import { Sandbox } from "../../../src/sandbox/Sandbox.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import * as Attributes from "../../../src/telemetry/Attributes.ts"
import * as Metrics from "../../../src/telemetry/Metrics.ts"
import * as machineState from "../../support/machineState.ts"
import * as processes from "../../support/processes.ts"
import type { Script } from "../../support/sandbox.ts"
import * as sandbox from "../../support/sandbox.ts"
import * as vm from "../../support/vm.ts"

/** The server, which the tests are here, has a descriptor to write each template's state by; nobody else has. */
const statesIn = (directory: string) =>
  fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(directory) && target.endsWith("/state (deleted)")
    } catch {
      // By which the directory was read.
      return false
    }
  })

const pages = ([0, 1, 0, 255, 0] as const).map((byte) => ({ of: "pc.ram", byte, isFilled: byte === 0 }) as const)
const whole = machineState.state(pages, false)

/** What a template does once it is told to copy itself, besides what it sends. */
type Part = "stops" | "dies" | "goes on" | "never boots"

/** Templates of machines that play a part, made in a directory of their own. */
const stage = Effect.fnUntraced(function* (
  part: Part,
  { sent = whole, ...more }: Partial<Pick<Copies.Options, "sharing" | "keptBackBytes">> & { sent?: Uint8Array } = {}
) {
  const directory = yield* processes.directory
  let made = 0
  const template = (): Effect.Effect<Machines.Template, SandboxError, Scope.Scope> =>
    Effect.sync(() => {
      made++
      const place = fs.mkdtempSync(path.join(directory, "vm-"))
      const lost = Promise.withResolvers<string>()
      const never = Effect.die("nobody asks a template for this")
      return {
        directory: place,
        copyTo: () =>
          Effect.sync(() => {
            const socket = net.connect(path.join(place, "copy.sock"))
            socket.on("error", () => {})
            socket.end(sent)
            if (part === "stops") lost.resolve(`${Qmp.stopped}, while booting`)
            if (part === "dies") lost.resolve("QEMU has ended with SIGKILL, while booting")
          }),
        lost: Effect.promise(() => lost.promise),
        channel: { input: { peek: never, advance: () => {} }, write: () => never },
        reach: () => never,
        lose: () => never,
        explain: never,
        settle: never
      }
    })
  const copies = yield* Copies.make({
    sharing: "account",
    keptBackBytes: 2 ** 31,
    ...more,
    template,
    awaitBooted: () =>
      part === "never boots" ? Effect.fail(new SandboxError({ operation: "booting", detail: "no" })) : Effect.void
  })
  const wanted = {
    guest: {
      arch: "x86_64",
      hash: "hash",
      directory,
      kernelVersion: "",
      kernelHash: "",
      initramfsHash: "",
      commandLine: ""
    },
    accelerator: "tcg",
    cores: 1,
    memoryBytes: 2 ** 28
  } as const
  const take = (account: string) => copies.take({ ...wanted, account })
  /** Once it has come to an end, made or not. */
  const settled = Effect.promise(async () => {
    while (made === 0 || statesIn(directory).length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  })
  return { take, settled, made: () => made, states: () => statesIn(directory) }
})

/** Asks until a template is lent, however often others have to be told to boot meanwhile. */
const untilLent = (take: Effect.Effect<Copies.Lent | null, never, Scope.Scope>) =>
  take.pipe(
    Effect.repeat({ until: (lent) => lent !== null, schedule: Schedule.spaced("1 millis") }),
    Effect.map((lent) => lent!)
  )

const read = (fd: number) => {
  const bytes = Buffer.alloc(2 * whole.length)
  return bytes.subarray(0, fs.readSync(fd, bytes))
}

describe("a template", () => {
  it.live("is lent whole, without what is empty, to each by a descriptor of its own that only reads", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { take } = yield* stage("stops")
        const one = yield* untilLent(take("ann"))
        const other = yield* untilLent(take("ann"))

        const expected = machineState.state(pages, true)
        assert.isBelow(expected.length, whole.length)
        assert.isTrue(read(one.stateFd).equals(expected))
        assert.isTrue(read(other.stateFd).equals(expected))
        assert.throws(() => fs.writeSync(one.stateFd, "x"), /EBADF/)
        assert.throws(() => fs.ftruncateSync(one.stateFd), /EINVAL|EBADF/)
      })
    )
  )

  it.live("is an account's own, or everybody's, as the operator says", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const own = yield* stage("stops")
        yield* untilLent(own.take("ann"))
        assert.isNull(yield* own.take("bob"))

        const shared = yield* stage("stops", { sharing: "shared" })
        yield* untilLent(shared.take("ann"))
        assert.isNotNull(yield* shared.take("bob"))
      })
    )
  )

  it.live.each([
    ["where the operator wants none", { sharing: "off" }],
    ["where the host keeps too little memory back", { keptBackBytes: 2 ** 29 }]
  ] as const)("is not made %s", ([, more]) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { made, take } = yield* stage("stops", more)
        for (let time = 0; time < 5; time++) assert.isNull(yield* take("ann"))

        assert.strictEqual(made(), 0)
      })
    )
  )

  it.live.each([
    ["of which nothing comes", "never boots", whole],
    ["that dies while it is copied", "dies", whole.subarray(0, 100)],
    ["that dies when all but its devices has come", "dies", whole],
    ["that sends what is no state", "stops", Buffer.alloc(1000, "x")],
    ["that sends half a state", "stops", whole.subarray(0, 100)]
  ] as const)("%s is given up, and nothing is left of it", ([, part, sent]) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { made, states, take } = yield* stage(part, { sent })
        // Eight times as often: the second try tells that the first has come to its end.
        yield* take("ann").pipe(
          Effect.tap((lent) => Effect.sync(() => assert.isNull(lent))),
          Effect.repeat({ until: () => made() === 2, schedule: Schedule.spaced("1 millis") })
        )

        assert.isAtMost(states().length, 1)
      })
    )
  )

  it.effect("that goes on has not been copied, and is given up after its time", () =>
    Effect.gen(function* () {
      const left = yield* Effect.scoped(
        Effect.gen(function* () {
          const { settled, states, take } = yield* stage("goes on")
          yield* take("ann")
          yield* take("ann")
          yield* settled

          yield* TestClock.adjust("2 minutes")

          assert.isNull(yield* take("ann"))
          return states
        })
      )

      assert.deepStrictEqual(left(), [])
    })
  )

  it.live("is closed with the server", () =>
    Effect.gen(function* () {
      const states = yield* Effect.scoped(
        Effect.gen(function* () {
          const { states, take } = yield* stage("stops")
          yield* untilLent(take("ann"))
          assert.lengthOf(states(), 2)
          return states
        })
      )

      assert.deepStrictEqual(states(), [])
    })
  )

  it.live("of which no machine came is lent no more", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { take } = yield* stage("stops")
        const lent = yield* untilLent(take("ann"))

        yield* lent.refuse("it did not come to run")

        assert.isNull(yield* take("ann"))
      })
    )
  )
})

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

    it.effect("shares no number and no moment with the next one", () =>
      Effect.gen(function* () {
        yield* untilRestored(hello)
        const script = `
          cat /proc/sys/kernel/random/boot_id; cat /proc/sys/kernel/random/uuid; od -An -N32 -tx1 /dev/urandom
          mktemp -d; mktemp; echo $$ $RANDOM`
        const seen = yield* Effect.forEach([1, 2, 3], () => once({ script: `${script}; date +%s%N; date +%s` }))

        assert.deepStrictEqual(
          seen.map(({ wasRestored }) => wasRestored),
          [true, true, true]
        )
        const lines = seen.map(({ log }) => log.trim().split("\n"))
        for (const index of lines[0]!.keys()) {
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
        const states = statesIn(dataDirectory)
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
