import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Queue as Mailbox, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Scheduler } from "../../../src/actors/scheduler/Scheduler.ts"
import { words } from "../../../src/actors/scheduler/Standing.ts"
import { HostId } from "../../../src/domain/Host.ts"
import type { Need } from "../../../src/domain/Need.ts"
import { host, need } from "../../support/needs.ts"

const h = HostId.make("h")

/** Asks in a scope of its own, which is handed over with the answer. */
const ask = (need: Need) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const scheduler = yield* Scheduler
    const { granted, standing } = yield* Scope.provide(scheduler.request(need), scope)
    return { answer: Effect.exit(granted), standing, give: Scope.close(scope, Exit.void) }
  })

describe("the scheduler", () => {
  const withOne = Effect.provide(Scheduler.layer([host("h", 1, 8)]))

  it.effect("lends what the scope gives back", () =>
    Effect.gen(function* () {
      const first = yield* ask(need("a"))
      const second = yield* ask(need("b"))
      const lease = Exit.getSuccess(yield* first.answer)
      yield* first.give

      assert.deepInclude(lease.valueOrUndefined, { host: h, cores: 1 })
      assert.isTrue(Exit.isSuccess(yield* second.answer))
    }).pipe(withOne)
  )

  it.effect("refuses what could never fit", () =>
    Effect.gen(function* () {
      const asked = yield* ask(need("a", 2))

      assert.isTrue(Exit.isFailure(yield* asked.answer))
    }).pipe(withOne)
  )

  it.effect("forgets who has given up waiting", () =>
    Effect.gen(function* () {
      const first = yield* ask(need("a"))
      const second = yield* ask(need("b"))
      const third = yield* ask(need("c"))
      yield* second.give
      yield* first.give

      assert.isTrue(Exit.isSuccess(yield* third.answer))
    }).pipe(withOne)
  )

  it.effect("tells one who waits where it stands, at each change until it is granted", () =>
    Effect.gen(function* () {
      const scheduler = yield* Scheduler
      const first = yield* ask(need("a"))
      yield* first.answer
      const second = yield* ask(need("b"))
      const third = yield* ask(need("c"))
      const heard = yield* Mailbox.unbounded<string>()
      const ended = yield* Deferred.make<void>()
      yield* third.standing.pipe(
        Stream.runForEach((standing) => Mailbox.offer(heard, words(standing))),
        Effect.ensuring(Deferred.succeed(ended, undefined)),
        Effect.forkChild
      )

      assert.strictEqual(yield* Mailbox.take(heard), "for 1 core and 1G on x86_64-linux; 1 build before it")
      yield* TestClock.adjust("1 minute")
      yield* first.give
      yield* second.answer
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Mailbox.take(heard), "for 1 core and 1G on x86_64-linux")
      yield* scheduler.lend(h, "draining")
      yield* TestClock.adjust("1 minute")
      assert.match(yield* Mailbox.take(heard), /no host that could take it is in service$/)
      yield* scheduler.lend(h, "open")
      yield* second.give
      yield* third.answer
      yield* Deferred.await(ended)
      assert.deepStrictEqual(yield* Mailbox.clear(heard), [])
    }).pipe(withOne)
  )
})
