import { assert, it } from "@effect/vitest"
import { Effect, Scheduler as Turns } from "effect"
import * as Attendance from "../../../src/actors/build/Attendance.ts"
import { BuildId } from "../../../src/domain/BuildId.ts"
import { Journal } from "../../../src/storage/Journal.ts"
import { newAccount } from "../../support/account.ts"

const account = newAccount()
const id = "a build"
const identity = BuildId.make("0".repeat(64))

it("a waiter is on record as left as often as it is as come, at whichever step a waiter is interrupted", () => {
  /** Fibers go on by two operations each, in turn. */
  const tasks: Array<() => void> = []
  let operations = 0
  const stepwise: Turns.Scheduler = {
    executionMode: "async",
    shouldYield: () => ++operations % 3 === 0,
    makeDispatcher: () => ({ scheduleTask: (task) => void tasks.push(task), flush: () => {} })
  }
  const seen = new Set<string>()
  for (let steps = 0; steps < 50; steps++) {
    for (const phase of [0, 1, 2]) {
      operations = phase
      const events: Array<string> = []
      const append: Journal["append"] = ({ _tag }) => Effect.sync(() => void events.push(_tag))
      const life = Effect.gen(function* () {
        const { attend } = yield* Attendance.make
        const { answer } = yield* attend({ account }, { id, identity }, id, Effect.never)
        return yield* answer
      }).pipe(
        Effect.scoped,
        Effect.provideService(Journal, { append, written: Effect.void }),
        Effect.provideService(Turns.Scheduler, stepwise)
      )
      const fiber = Effect.runFork(life)
      for (let step = 0; step < steps; step++) tasks.shift()?.()
      fiber.interruptUnsafe()
      for (let step = 0; step < 10_000; step++) tasks.shift()?.()

      seen.add(events.join(", "))
    }
  }
  assert.deepStrictEqual([...seen], ["", "WaiterCame, WaiterLeft"])
})
