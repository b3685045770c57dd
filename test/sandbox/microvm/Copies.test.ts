/** How templates are made and lent, by machines that play a part; restored.test.ts has real ones. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as Source from "../../../src/protocol/wire/Source.ts"
import * as Frame from "../../../src/sandbox/executor/Frame.ts"
import * as Copies from "../../../src/sandbox/microvm/Copies.ts"
import type * as Machines from "../../../src/sandbox/microvm/Machines.ts"
import * as MicroVmSandbox from "../../../src/sandbox/microvm/MicroVmSandbox.ts"
import * as Qmp from "../../../src/sandbox/microvm/Qmp.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import * as machineState from "../../support/machineState.ts"
import * as processes from "../../support/processes.ts"
import * as sandbox from "../../support/sandbox.ts"

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
  const isReceived = () => {
    const [fd] = machineState.statesIn(directory)
    return fd !== undefined && fs.fstatSync(Number(fd)).size === machineState.state(pages, true).length
  }
  /** All of it has come, and there was time to make something of that. */
  const received = Effect.promise(async () => {
    while (!isReceived()) await new Promise((resolve) => setImmediate(resolve))
    for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve))
  })
  return { take, received, made: () => made, states: () => machineState.statesIn(directory) }
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
          const { received, states, take } = yield* stage("goes on")
          yield* take("ann")
          yield* take("ann")
          yield* received
          assert.isNull(yield* take("ann"))

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

describe("a copy", () => {
  it.live("is told chance of its own before anything else, and then the time", () =>
    Effect.gen(function* () {
      const random = yield* SecureRandom.SecureRandom
      const told = Effect.gen(function* () {
        const written: Array<Uint8Array> = []
        const ready = Buffer.of(0x81, 4, 0, 0, 0, Frame.version, 0, 0, 0)
        const vm = {
          channel: {
            input: Source.fromChunks([ready]),
            write: (bytes: Uint8Array) => Effect.sync(() => void written.push(bytes))
          },
          reach: () => Effect.void,
          lose: () => Effect.void,
          copyTo: () => Effect.void,
          lost: Effect.never,
          explain: Effect.succeed(null),
          settle: Effect.void,
          inputsRead: Effect.succeed([]),
          network: null
        }
        yield* MicroVmSandbox.run(vm, sandbox.job({ script: ":" }), random, { isCopy: true })
        return written
      })
      const [one, other] = [yield* told, yield* told]

      assert.deepStrictEqual(
        one.slice(0, 2).map((frame) => frame[0]),
        [Frame.seed(new Uint8Array(Frame.seedBytes))[0], Frame.clock(0n)[0]]
      )
      assert.notDeepEqual(one[0], other[0])
    }).pipe(Effect.provide(SecureRandom.layerWebCrypto))
  )
})
