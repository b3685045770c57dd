import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { noUsage } from "../../../src/domain/Attempt.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import * as Frame from "../../../src/sandbox/executor/Frame.ts"
import * as Run from "../../../src/sandbox/executor/Run.ts"
import type { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import * as sandbox from "../../support/sandbox.ts"

const frame = (type: number, ...payload: ReadonlyArray<number>) => {
  const header = Buffer.alloc(5)
  header[0] = type
  header.writeUInt32LE(payload.length, 1)
  return Buffer.concat([header, Buffer.from(payload)])
}
const ready = frame(0x81, Frame.version, 0, 0, 0)
const log = (text: string) => frame(0x82, ...Buffer.from(text))
const exited = frame(0x83, ...Array.from({ length: 58 }, () => 0), 1)
const narData = (text: string) => frame(0x84, ...Buffer.from(text))
const narEnd = frame(0x85)
const refused = (reason: number, path: string) => frame(0x86, reason, ...Buffer.from(path))
const heartbeat = frame(0x88)
const booted = frame(0x89)
const failed = frame(0x87, ...Buffer.from("mount: proc: Operation not permitted"))

const backstage: Run.Backstage = {
  judge: ({ value }) =>
    Effect.succeed({
      exit: { _tag: "Exited", status: value },
      usage: noUsage
    }),
  lost: Effect.fail
}

/** A run with an executor that says these bytes, in pieces of seven, and listens to nothing. */
const against = (frames: ReadonlyArray<Uint8Array>, more: Partial<Run.Backstage> = {}) => {
  const size = 7
  const bytes = Buffer.concat(frames)
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size)
  )
  const channel = { input: Source.fromChunks(pieces), write: () => Effect.void }
  return Run.start(channel, sandbox.job({ script: "true" }), { ...backstage, ...more })
}

const text = Effect.fnUntraced(function* <E>(source: Source.Source<E>) {
  let text = ""
  for (;;) {
    const chunk = yield* source.peek
    if (chunk.length === 0) return text
    text += Buffer.from(chunk).toString()
    source.advance(chunk.length)
  }
})

describe("a run of an executor", () => {
  it.effect("hands over the log, then the end, then outputs", () =>
    Effect.gen(function* () {
      const running = yield* against([ready, log("one "), log("two"), exited, narData("na"), narData("r"), narEnd])
      const chunks = yield* Stream.runCollect(running.log)

      assert.strictEqual(Buffer.concat([...chunks]).toString(), "one two")
      assert.deepStrictEqual((yield* running.ended).outputs, ["out"])
      assert.strictEqual(yield* text(yield* running.output("out")), "nar")
    })
  )

  it.effect("tells how long the builder ran, and not how long it took to get there", () =>
    Effect.gen(function* () {
      const greeting = Effect.as(TestClock.adjust("5 seconds"), [])
      const running = yield* against([booted, ready, log("one"), exited], { greeting })
      yield* TestClock.adjust("3 seconds")
      yield* Stream.runDrain(running.log)

      assert.strictEqual((yield* running.ended).usage.runMilliseconds, 3000)
    })
  )

  it.effect("hears that the executor lives, whatever else it says", () =>
    Effect.gen(function* () {
      let beats = 0
      const beat = Effect.sync(() => void beats++)
      const said = [ready, heartbeat, log("one"), heartbeat, exited, heartbeat, narData("nar"), heartbeat, narEnd]
      const running = yield* against(said, { beat })
      yield* Stream.runDrain(running.log)

      assert.strictEqual(yield* text(yield* running.output("out")), "nar")
      assert.strictEqual(beats, 4)
    })
  )

  it.effect.each([
    ["once it has booted", [booted, ready], false],
    ["which is a copy of one that has booted, at once", [ready], true]
  ] as const)("greets a machine %s, and tells it the job when it is ready", ([, said, isCopy]) =>
    Effect.gen(function* () {
      const written: Array<number> = []
      const channel = {
        input: Source.fromChunks(said),
        write: (bytes: Uint8Array) => Effect.sync(() => void written.push(bytes[0]!))
      }
      const greeting = Effect.sync(() => [Frame.clock(1n), Frame.seed(new Uint8Array(Frame.seedBytes))])
      yield* Run.start(channel, sandbox.job({ script: "true" }), {
        ...backstage,
        greeting,
        isCopy,
        onReady: Effect.sync(() => void written.push(0))
      })

      assert.deepStrictEqual(written.slice(0, 4), [10, 11, 0, 1])
    })
  )

  it.effect("tells a refused output from a broken run", () =>
    Effect.gen(function* () {
      const path = sandbox.outputPath("out")
      const running = yield* against([ready, exited, narData("na"), refused(4, `${path}/p`)])
      yield* Stream.runDrain(running.log)

      const error = yield* Effect.flip(text(yield* running.output("out")))
      assert.strictEqual(error.message, `file '/nix/store/${path}/p' has an unsupported type`)
    })
  )

  for (const [what, frames] of [
    ["fails before it has begun", [failed]],
    ["is of another version", [frame(0x81, 1, 0, 0, 0), exited]],
    ["lives before it is ready", [heartbeat, ready, exited]],
    ["has booted, and is no machine", [booted, ready, exited]],
    ["logs before it is ready", [log("early"), ready, exited]],
    ["is ready twice", [ready, ready, exited]],
    ["sends an output that nobody asked for", [ready, narData("x"), exited]],
    ["says a frame of ours", [ready, frame(8), exited]],
    ["is gone in the middle of a frame", [ready, log("cut off").subarray(0, 8)]],
    ["fails while it runs", [ready, log("x"), failed]],
    ["logs nothing, which it could without end", [ready, log(""), exited]],
    ["says without end that it lives", [ready, Buffer.concat(Array.from({ length: 50_001 }, () => heartbeat)), exited]]
  ] as const) {
    it.effect(`ends with an error when the executor ${what}`, () =>
      Effect.gen(function* () {
        const run = Effect.flatMap(against(frames), ({ ended, log }) => Effect.andThen(Stream.runDrain(log), ended))
        const error: SandboxError = yield* Effect.flip(run)

        assert.strictEqual(error._tag, "SandboxError")
      })
    )
  }

  it.effect("hands an output on as it comes, and fails when it is cut off in the middle of a frame", () =>
    Effect.gen(function* () {
      const cut = narData("0123456789abcdef").subarray(0, -3)
      const running = yield* against([ready, exited, narData("whole"), cut])
      yield* Stream.runDrain(running.log)
      const source = yield* running.output("out")
      let come = ""

      const error = yield* Effect.flip(
        Effect.forever(
          Effect.map(source.peek, (chunk) => {
            come += Buffer.from(chunk).toString()
            source.advance(chunk.length)
          })
        )
      )

      assert.strictEqual(come, "whole0123456789abc")
      assert.include(error.message, "found the end")
    })
  )

  it.effect("hears of life as often as there was time for it", () =>
    Effect.gen(function* () {
      const lives = Buffer.concat(Array.from({ length: 60_000 }, () => heartbeat))
      const greeting = Effect.as(TestClock.adjust("1000 seconds"), [])
      const running = yield* against([booted, ready, lives, log("one"), exited], { greeting })
      yield* Stream.runDrain(running.log)

      assert.strictEqual((yield* running.ended).exit._tag, "Exited")
    })
  )

  it.effect("fails when an output has a piece of nothing, of which there could be any number", () =>
    Effect.gen(function* () {
      const running = yield* against([ready, exited, narData("na"), narData(""), narEnd])
      yield* Stream.runDrain(running.log)

      const error = yield* Effect.flip(text(yield* running.output("out")))
      assert.include(error.message, "found none")
    })
  )

  it.effect("ends with an error when an output goes on after its end, at the next that is asked for", () =>
    Effect.gen(function* () {
      const running = yield* against([ready, exited, narEnd, narData("more")])
      yield* Stream.runDrain(running.log)
      assert.strictEqual(yield* text(yield* running.output("out")), "")

      const again = yield* Effect.flip(text(yield* running.output("out")))
      assert.strictEqual(again._tag, "SandboxError")
    })
  )

  it.effect("does not sell an output before the builder has ended, or one that was not declared", () =>
    Effect.gen(function* () {
      const running = yield* against([ready, exited])
      assert.strictEqual((yield* Effect.flip(running.output("out")))._tag, "SandboxError")
      yield* Stream.runDrain(running.log)

      assert.strictEqual((yield* Effect.flip(running.output("dev")))._tag, "SandboxError")
    })
  )
})
