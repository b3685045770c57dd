/** A waiter is told where its build stands: not of short waits, at changes, and never in a flood. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as QueueLines from "../../../src/actors/build/QueueLines.ts"
import type { Standing } from "../../../src/actors/scheduler/Standing.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"

const standing = (before: number): Standing => ({
  lease: LeaseId.make("lease"),
  before,
  cores: 1,
  memoryBytes: 2 ** 31,
  system: "x86_64-linux",
  features: [],
  reason: "room",
  kept: null,
  since: 0
})

/** What has been said by now, and how to change what is to be said. */
const listening = Effect.gen(function* () {
  const changes = yield* Queue.unbounded<Standing | null>()
  const said: Array<string> = []
  const fiber = yield* QueueLines.over(Stream.fromQueue(changes)).pipe(
    Stream.runForEach((heard) => Effect.sync(() => void said.push(heard._tag === "Service" ? heard.line : "log"))),
    Effect.forkScoped
  )
  const change = (to: Standing | null) => Effect.andThen(Queue.offer(changes, to), Effect.yieldNow)
  return { said, change, fiber }
})

const line = (place: string) => `drover: waiting for 1 core and 2G on x86_64-linux${place}`

it.effect("is told after two seconds, and then of what has changed", () =>
  Effect.gen(function* () {
    const { change, said } = yield* listening
    yield* change(standing(2))
    yield* TestClock.adjust("1999 millis")
    assert.deepStrictEqual(said, [])
    yield* TestClock.adjust("1 millis")
    assert.deepStrictEqual(said, [line("; 2 builds before it")])

    yield* change(standing(1))
    yield* TestClock.adjust("14 seconds")
    yield* change(standing(0))
    yield* TestClock.adjust("1 seconds")
    assert.deepStrictEqual(said.slice(1), [line("")])
    yield* change(standing(0))
    yield* TestClock.adjust("1 hour")
    assert.lengthOf(said, 2)
  }).pipe(Effect.scoped)
)

it.effect("is told nothing of a wait that is over", () =>
  Effect.gen(function* () {
    const { change, said } = yield* listening
    yield* change(standing(2))
    yield* TestClock.adjust("1 seconds")
    yield* change(null)
    yield* TestClock.adjust("1 hour")
    assert.deepStrictEqual(said, [])
  }).pipe(Effect.scoped)
)

it.effect("is told ever more seldom, however often it changes", () =>
  Effect.gen(function* () {
    const { change, fiber, said } = yield* listening
    for (let second = 0; second < 3600; second++) {
      yield* change(standing(5000 - second))
      yield* TestClock.adjust("1 seconds")
    }
    assert.isAtLeast(said.length, 12)
    assert.isAtMost(said.length, 20)
    yield* Fiber.interrupt(fiber)
  }).pipe(Effect.scoped)
)
