import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { notValid, patiently } from "../../../src/actors/session/Trouble.ts"
import { path } from "../../support/store.ts"
import { FileError, StorageError } from "../../../src/storage/StorageError.ts"

const trouble = (code: string) =>
  new StorageError({ operation: "looking", cause: new FileError({ path: "/x", code, detail: "no" }) })
const passing = trouble("EMFILE")

/** A question that meets each of these troubles, one after the other, before it is answered. */
const question = (troubles: ReadonlyArray<StorageError | ReturnType<typeof notValid>>) => {
  const left = [...troubles]
  let asked = 0
  const ask = Effect.suspend(() => {
    asked++
    const next = left.shift()
    return next === undefined ? Effect.succeed("answer") : Effect.fail(next)
  })
  return { ask: patiently(ask), asked: () => asked }
}

describe("a question", () => {
  it.effect("is asked again while the store cannot answer for the moment", () =>
    Effect.gen(function* () {
      const { ask } = question([passing, passing, passing])
      const asking = yield* Effect.forkChild(ask, { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(asking), "answer")
    })
  )

  it.effect("is given up in half a minute", () =>
    Effect.gen(function* () {
      const { ask, asked } = question(Array.from({ length: 1000 }, () => passing))
      const asking = yield* Effect.forkChild(Effect.flip(ask), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(asking), passing)
      assert.isBelow(asked(), 50)
    })
  )

  it.effect("is asked once where that would change nothing", () =>
    Effect.gen(function* () {
      for (const lasting of [trouble("EIO"), notValid(path("a", "x"))]) {
        const { ask, asked } = question([lasting])
        assert.strictEqual(yield* Effect.flip(ask), lasting)
        assert.strictEqual(asked(), 1)
      }
    })
  )
})
