import { assert, it, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schema, Scope, Stream } from "effect"
import * as fs from "node:fs/promises"
import { AttemptId } from "../../src/domain/Attempt.ts"
import { LogStore } from "../../src/storage/LogStore.ts"
import { temporaryDirectory } from "../support/postgres.ts"

const TestLogs = Layer.unwrap(Effect.map(temporaryDirectory, LogStore.layer))

let attempts = 0
const newAttempt = () => AttemptId.make(`attempt-${attempts++}`)
const bytes = (text: string) => new TextEncoder().encode(text)

/** All that a reader gets, once the log has ended. */
const readAll = Effect.fnUntraced(function* (attempt: AttemptId) {
  const logs = yield* LogStore
  const chunks = yield* Stream.runCollect(logs.follow(attempt))
  return Buffer.concat(chunks).toString()
})

/** The one form of it that is used. */
type Write = (
  this: fs.FileHandle,
  bytes: Uint8Array,
  offset: number,
  length: number,
  at: number
) => Promise<{ readonly bytesWritten: number }>

/**
 * A disk that has room for this many bytes, for as long as the scope is open: what is written takes of it, the last of it
 * only in part.
 */
const diskWithRoom = (room: { bytes: number }) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const handle = await fs.open("/dev/null", "w")
      // All files have the one prototype, which has no name of its own.
      const files: { write: Write } = Object.getPrototypeOf(handle)
      await handle.close()
      const { write } = files
      files.write = async function (
        this: fs.FileHandle,
        bytes: Uint8Array,
        offset: number,
        length: number,
        at: number
      ) {
        if (room.bytes === 0) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" })
        const taken = Math.min(room.bytes, length)
        room.bytes -= taken
        return await write.call(this, bytes, offset, taken, at)
      }
      return { files, write }
    }),
    ({ files, write }) => Effect.sync(() => void (files.write = write))
  )

layer(TestLogs)("LogStore", (it) => {
  it.effect("has bytes once that a full disk had taken in part before they were appended again", () =>
    Effect.gen(function* () {
      const attempt = newAttempt()
      const log = yield* (yield* LogStore).open(attempt)
      const reader = yield* Effect.forkChild(readAll(attempt), { startImmediately: true })
      yield* log.append(bytes("begun, "))
      const room = { bytes: 5 }

      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* diskWithRoom(room)
          const error = yield* Effect.flip(log.append(bytes("then full")))
          assert.deepInclude(error.cause, { _tag: "FileError", code: "ENOSPC" })
          room.bytes = 3
          yield* Effect.flip(log.append(bytes("then full")))
          room.bytes = 100
          yield* log.append(bytes("then full"))
        })
      )
      yield* log.append(bytes(", and over"))
      yield* log.end

      assert.strictEqual(yield* Fiber.join(reader), "begun, then full, and over")
      assert.strictEqual(yield* readAll(attempt), "begun, then full, and over")
    })
  )

  it.effect("has nothing of what a full disk took only in part", () =>
    Effect.gen(function* () {
      const attempt = newAttempt()
      const log = yield* (yield* LogStore).open(attempt)
      yield* log.append(bytes("begun"))

      yield* Effect.scoped(Effect.andThen(diskWithRoom({ bytes: 5 }), Effect.flip(log.append(bytes(", then full")))))
      yield* log.end

      assert.strictEqual(yield* readAll(attempt), "begun")
      assert.strictEqual(yield* (yield* LogStore).size(attempt), 5)
    })
  )

  it.effect("gives a reader who comes late all of it, and one who comes after the end", () =>
    Effect.gen(function* () {
      const attempt = newAttempt()
      const log = yield* (yield* LogStore).open(attempt)

      yield* log.append(bytes("first "))
      const late = yield* Effect.forkChild(readAll(attempt), { startImmediately: true })
      yield* log.append(bytes("second "))
      yield* log.append(bytes("last"))
      yield* log.end

      assert.strictEqual(yield* Fiber.join(late), "first second last")
      assert.strictEqual(yield* readAll(attempt), "first second last")
    })
  )

  it.effect("tells a reader of each line before the next is written", () =>
    Effect.gen(function* () {
      const attempt = newAttempt()
      const logs = yield* LogStore
      const log = yield* logs.open(attempt)
      const heard = yield* Deferred.make<string>()
      const reader = yield* logs.follow(attempt).pipe(
        Stream.runForEach((chunk) => Deferred.succeed(heard, Buffer.from(chunk).toString())),
        Effect.forkChild({ startImmediately: true })
      )

      yield* log.append(bytes("one\n"))

      assert.strictEqual(yield* Deferred.await(heard), "one\n")
      yield* log.end
      yield* Fiber.join(reader)
    })
  )

  it.effect("is not held up by a reader that stops reading", () =>
    Effect.gen(function* () {
      const attempt = newAttempt()
      const logs = yield* LogStore
      const log = yield* logs.open(attempt)
      const stopped = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const slow = yield* logs.follow(attempt).pipe(
        Stream.tap(() => Effect.andThen(Deferred.succeed(stopped, void 0), Deferred.await(goOn))),
        Stream.runFold(
          () => 0,
          (total, chunk) => total + chunk.length
        ),
        Effect.forkChild({ startImmediately: true })
      )

      yield* log.append(bytes("x"))
      yield* Deferred.await(stopped)
      const chunk = new Uint8Array(100_000)
      for (let index = 0; index < 50; index++) yield* log.append(chunk)
      yield* log.end

      assert.lengthOf(yield* readAll(attempt), 5_000_001)
      yield* Deferred.succeed(goOn, void 0)
      assert.strictEqual(yield* Fiber.join(slow), 5_000_001)
    })
  )

  it.effect("ends with the scope of whoever writes it", () =>
    Effect.gen(function* () {
      const attempt = newAttempt()
      const scope = yield* Scope.make()
      const log = yield* Scope.provide((yield* LogStore).open(attempt), scope)
      yield* log.append(bytes("cut sh"))
      const reader = yield* Effect.forkChild(readAll(attempt), { startImmediately: true })

      yield* Scope.close(scope, Exit.void)

      assert.strictEqual(yield* Fiber.join(reader), "cut sh")
    })
  )

  it.effect("has no log of an attempt that wrote none", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(readAll(newAttempt()))

      assert.deepInclude(error.cause, { _tag: "FileError", code: "ENOENT" })
    })
  )
})

it.effect.prop("gives back what was appended, however it was cut", [Schema.Array(Schema.String)], ([parts]) =>
  Effect.gen(function* () {
    const attempt = newAttempt()
    const log = yield* (yield* LogStore).open(attempt)
    const reader = yield* Effect.forkChild(readAll(attempt), { startImmediately: true })

    for (const part of parts) yield* log.append(bytes(part))
    yield* log.end

    assert.strictEqual(yield* Fiber.join(reader), Buffer.concat(parts.map(bytes)).toString())
  }).pipe(Effect.scoped, Effect.provide(TestLogs))
)
