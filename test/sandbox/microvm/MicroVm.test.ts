import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Frame from "../../../src/sandbox/executor/Frame.ts"
import * as Life from "../../../src/sandbox/microvm/Life.ts"
import * as MicroVm from "../../../src/sandbox/microvm/MicroVm.ts"
import * as MicroVmSandbox from "../../../src/sandbox/microvm/MicroVmSandbox.ts"
import type { Running } from "../../../src/sandbox/Sandbox.ts"
import * as sandbox from "../../support/sandbox.ts"

const program = path.resolve(import.meta.dirname, "../../support/hostileQemu.ts")

/** A machine whose QEMU plays a part; `gone` is called once it is. */
const opened = (part: string, gone: () => void = () => {}) =>
  Effect.gen(function* () {
    const nothing = yield* Effect.acquireRelease(
      Effect.sync(() => fs.openSync("/dev/null", "r")),
      (fd) => Effect.sync(() => fs.closeSync(fd))
    )
    return yield* MicroVm.open({
      launcher: process.execPath,
      words: [program, part, `${Frame.version}`],
      accelerator: "tcg",
      filter: new Uint8Array(0),
      userNamespaceFd: nothing,
      scratchFd: nothing,
      stateFd: null,
      sweep: Effect.void,
      onGone: Effect.sync(gone)
    })
  })

const start = Effect.fnUntraced(function* (part: string) {
  const vm = yield* opened(part)
  const machine = { ...vm, inputsRead: Effect.succeed([]), network: null }
  return yield* MicroVmSandbox.run(machine, sandbox.job({ script: ":" }), yield* SecureRandom.SecureRandom)
}, Effect.provide(SecureRandom.layerWebCrypto))

const finish = (running: Running) => Effect.andThen(Stream.runDrain(running.log), running.ended)

/** The machine's own seconds, one by one: its loop has a turn in each. */
const pass = (seconds: number) =>
  Effect.repeat(TestClock.adjust("1 second"), { times: seconds - 1 }).pipe(Effect.asVoid)

describe("a machine", () => {
  it.live.each([
    ["stop", /its processors have stopped, while booting/],
    ["panic", /it has shut down \(guest-panic\)/],
    ["a monitor without end", /says a line without end|is no message/],
    ["a monitor that answers twice", /its monitor answers what nobody asked/],
    ["garbage", /expected .*frame/],
    ["a frame without end", /expected a frame of at most/],
    ["a log that nobody asked for", /expected a frame of an executor that is Booting, found Log/],
    ["another version", /expected one of this version/],
    ["a console without end", /QEMU has ended with status 3.*QEMU: \[31mred; its kernel: x+$/],
    ["a disk that fails just before the end", /its disk store cannot read: EIO, while running/]
  ] as const)("that plays %s is lost, and says why", ([part, reason]) =>
    Effect.scoped(
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.flatMap(start(part), finish))

        assert.match(error.message, reason)
      })
    )
  )

  it.effect("that says nothing has its time to boot, and no more", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const booting = yield* Effect.forkChild(start("mute"))
        yield* pass(59)
        assert.isUndefined(booting.pollUnsafe())

        yield* pass(3)

        assert.match((yield* Effect.flip(Fiber.join(booting))).message, /booting for more than 60 s/)
      })
    )
  )

  it.effect("that falls silent is lost", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const build = yield* Effect.forkChild(finish(yield* start("silent")))

        yield* pass(Life.silentTurnsMax + 2)

        assert.match((yield* Effect.flip(Fiber.join(build))).message, /nothing was heard of it for 10 s, while running/)
      })
    )
  )

  it.live("is gone with its scope", () =>
    Effect.gen(function* () {
      let isGone = false

      yield* Effect.scoped(opened("a log that nobody asked for", () => void (isGone = true)))

      assert.isTrue(isGone)
    })
  )
})
