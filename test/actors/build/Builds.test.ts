import { assert, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Delivery } from "../../../src/actors/Actor.ts"
import { BuilderLost, BuildFailed } from "../../../src/actors/builder/BuilderPool.ts"
import type { Event } from "../../../src/domain/Event.ts"
import { Sha256 } from "../../../src/protocol/nix/Hash.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { BuildRecords } from "../../../src/storage/BuildRecords.ts"
import { BuildRepository } from "../../../src/storage/BuildRepository.ts"
import { Journal } from "../../../src/storage/Journal.ts"
import { MissingNar, StorageError } from "../../../src/storage/StorageError.ts"
import * as builders from "../../support/builders.ts"
import {
  bytes,
  derive,
  failing,
  heard,
  outputOf,
  Storage,
  succeeding,
  unlimited,
  world
} from "../../support/building.ts"
import { addNars } from "../../support/store.ts"

layer(Storage)("builds", (it) => {
  it.effect("are told to whoever waits, from the first word to the answer", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const waiting = yield* submit(derive())
      const builder = yield* pool.next
      yield* builder.say("one\n")
      yield* builder.say("two\n")
      yield* builder.end(succeeding)

      assert.strictEqual(yield* heard(waiting), "one\ntwo\n")
      const answer = yield* waiting.answer
      assert.strictEqual(answer.status, "Built")
      assert.strictEqual(builder.assignment.lease.memoryBytes, builders.host(4).memoryBytes)
      assert.strictEqual(answer.cpuUserMicroseconds, 1)
      yield* builder.gone
    }).pipe(Effect.scoped)
  )

  it.effect("run once for two who ask, and tell the second all of the log", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = derive()
      const first = yield* submit(asked)
      const builder = yield* pool.next
      yield* builder.say("one\n")
      const second = yield* submit(asked)
      const listening = yield* Effect.forkChild(heard(second))
      yield* builder.say("two\n")
      yield* builder.end(failing)

      assert.strictEqual(yield* Fiber.join(listening), "one\ntwo\n")
      assert.strictEqual(yield* heard(first), "one\ntwo\n")
      assert.strictEqual((yield* first.answer).message, "it failed")
      assert.strictEqual((yield* second.answer).message, "it failed")
      assert.strictEqual(yield* pool.most, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("go on while one of two leaves, and end with the last", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = derive()
      const [one, two] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(submit(asked), one)
      const builder = yield* pool.next
      const second = yield* Scope.provide(submit(asked), two)

      yield* Scope.close(one, Exit.void)
      yield* builder.say("still here\n")
      yield* builder.end(succeeding)
      assert.strictEqual((yield* second.answer).status, "Built")
      yield* Scope.close(two, Exit.void)
      yield* builder.gone
    }).pipe(Effect.scoped)
  )

  it.effect("are recorded as cancelled once nobody waits, and their sandbox is gone", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const scope = yield* Scope.make()
      yield* Scope.provide(submit(derive()), scope)
      const builder = yield* pool.next

      yield* Scope.close(scope, Exit.void)

      yield* builder.gone
      const [latest] = yield* Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 }))
      assert.strictEqual(latest?.state, "cancelled")
      assert.strictEqual(latest?.attempts[0]?.outcome, "cancelled")
    }).pipe(Effect.scoped)
  )

  it.effect("are recorded as cancelled when their lease comes as nobody waits any more", () =>
    Effect.gen(function* () {
      const isLent = yield* Deferred.make<void>()
      let lend = () => {}
      // The build has been lent a host, and takes the word of that only after the one that it is cancelled.
      const late: (typeof Delivery)["Service"] = (deliver, { _tag }) => {
        if (_tag !== "Leased") {
          deliver()
          if (_tag === "Cancel") lend()
          return
        }
        lend = deliver
        Deferred.doneUnsafe(isLent, Effect.void)
      }
      const { submit } = yield* world()
      const scope = yield* Scope.make()
      yield* Scope.provide(submit(derive()), scope).pipe(Effect.provideService(Delivery, late))
      yield* Deferred.await(isLent)

      yield* Scope.close(scope, Exit.void)

      const [latest] = yield* Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 }))
      assert.strictEqual(latest?.state, "cancelled")
      assert.deepStrictEqual(latest?.attempts, [])
    }).pipe(Effect.scoped)
  )

  it.effect("are told of as defects when a builder meets one, and leave nothing behind", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const scope = yield* Scope.make()
      const waiting = yield* Scope.provide(submit(derive()), scope)
      const builder = yield* pool.next

      yield* builder.end(Effect.die("a bug of ours"))

      const exit = yield* Effect.exit(waiting.answer)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      yield* Scope.close(scope, Exit.void)
      yield* builder.gone
      const [latest] = yield* Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 }))
      assert.strictEqual(latest?.state, "cancelled")
      // What it was lent is to be had again.
      yield* submit(derive())
      yield* pool.next
    }).pipe(Effect.scoped)
  )

  it.effect("are not left on record as under way when what is to be recorded of them cannot be", () =>
    Effect.gen(function* () {
      const events: Array<Event> = []
      const append = (event: Event) => Effect.sync(() => void events.push(event))
      const cause = new MissingNar({ narHash: Sha256.make("0".repeat(64)) })
      const broken = Effect.fail(new StorageError({ operation: "recording the end of an attempt", cause }))
      const records = { ...(yield* BuildRepository), endAttempt: () => broken }
      const { pool, submit } = yield* Effect.provideService(world(), BuildRepository, records)
      const scope = yield* Scope.make()
      const waiting = yield* Scope.provide(submit(derive()), scope).pipe(
        Effect.provideService(Journal, { append, written: Effect.void })
      )
      const builder = yield* pool.next
      yield* builder.end(failing)

      assert.isTrue(Exit.isFailure(yield* Effect.exit(waiting.answer)))
      yield* Scope.close(scope, Exit.void)
      const [latest] = yield* Effect.flatMap(BuildRecords, (found) => found.list({ limit: 1 }))
      assert.strictEqual(latest?.state, "cancelled")
      assert.strictEqual(latest?.attempts[0]?.outcome, "cancelled")
      const told = events.flatMap(({ _tag }) => (/^(Build|Attempt)/.test(_tag) ? [_tag] : []))
      assert.deepStrictEqual(told, ["BuildQueued", "AttemptStarted", "AttemptEnded", "BuildEnded"])
    }).pipe(Effect.scoped)
  )

  it.effect("are refused at once where they ask for what no host could have and no record hold", () =>
    Effect.gen(function* () {
      const { submit } = yield* world()
      const odd = derive({ environment: [[bytes("requiredSystemFeatures"), bytes("k\0vm")]] })

      for (const asked of [odd, derive({ system: "x86_64\0linux" })]) {
        const refused = yield* Effect.flip(submit(asked))
        assert.strictEqual(refused.status, "InputRejected")
        assert.include(refused.detail, "printable ASCII")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("end on record whatever characters the word has that they end with", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const waiting = yield* submit(derive())
      const builder = yield* pool.next
      const message = "derivation contains an illegal reference specifier 'a\0b'"
      const failure = { status: "OutputRejected", outcome: "refused", message } as const
      yield* builder.end(Effect.fail(new BuildFailed({ failure })))

      assert.strictEqual((yield* waiting.answer).status, "OutputRejected")
      const [latest] = yield* Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 }))
      assert.strictEqual(latest?.state, "failed")
    }).pipe(Effect.scoped)
  )

  it.effect("end well though a database that was killed has lost what they made", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = derive()
      const made = outputOf(asked, "lost and put there again")
      const waiting = yield* submit(asked)
      const builder = yield* pool.next
      yield* builder.end(
        Effect.succeed([made]),
        addNars([made.info]).pipe(Effect.orDie, Effect.provide(yield* Effect.context<SqlClient.SqlClient>()))
      )

      assert.strictEqual((yield* waiting.answer).status, "Built")
      const [latest] = yield* Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 }))
      assert.strictEqual(latest?.state, "succeeded")
    }).pipe(Effect.scoped)
  )

  it.effect("start again, unseen, when a builder is lost", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const waiting = yield* submit(derive())
      const first = yield* pool.next
      yield* first.say("one\n")
      yield* first.end(Effect.fail(new BuilderLost({ fault: "sandbox", detail: "killed" })))
      yield* first.gone
      const second = yield* pool.next
      yield* second.say("one\ntwo\n")
      yield* second.end(succeeding)

      assert.strictEqual(yield* heard(waiting), "one\ntwo\n")
      assert.strictEqual((yield* waiting.answer).status, "Built")
      const [latest] = yield* Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 }))
      assert.deepStrictEqual(
        latest?.attempts.map(({ outcome }) => outcome),
        ["lost", "succeeded"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("of one identity never run beside their own remains", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = derive()
      const scope = yield* Scope.make()
      yield* Scope.provide(submit(asked), scope)
      yield* pool.next
      const leaving = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* submit(asked)
      yield* pool.next
      yield* Fiber.join(leaving)
      assert.strictEqual(yield* pool.most, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("that no host could ever run are refused", () =>
    Effect.gen(function* () {
      const { submit } = yield* world()
      const { derivation, derivationPath } = derive()
      const waiting = yield* submit({ derivationPath, derivation: { ...derivation, system: "aarch64-linux" } })
      const answer = yield* waiting.answer
      assert.strictEqual(answer.status, "InputRejected")
      assert.match(answer.message, /a 'aarch64-linux' with features \{\} is required to build/)
    }).pipe(Effect.scoped)
  )

  it.effect("of what asks for no sandbox are refused", () =>
    Effect.gen(function* () {
      const { submit } = yield* world()
      const { derivation, derivationPath } = derive()
      const refused = yield* Effect.flip(
        submit({ derivationPath, derivation: { ...derivation, environment: [[bytes("__noChroot"), bytes("1")]] } })
      )
      assert.match(refused.message, /has '__noChroot' set/)
    }).pipe(Effect.scoped)
  )

  it.effect("whose inputs the account does not see are refused", () =>
    Effect.gen(function* () {
      const { submit } = yield* world()
      const { derivation, derivationPath } = derive()
      const input = StorePath.make(`${"z".repeat(32)}-input`)
      const refused = yield* Effect.flip(
        submit({ derivationPath, derivation: { ...derivation, inputSources: [input] } })
      )
      assert.match(refused.message, /its input '.*-input' is not valid/)
    }).pipe(Effect.scoped)
  )

  it.effect("are not answered by an end that came after the waiter's time, whose log was cut short then", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = derive()
      const hasty = yield* submit({ ...asked, limits: { ...unlimited, timeoutSeconds: 10 } })
      const patient = yield* submit(asked)
      const builder = yield* pool.next
      yield* TestClock.adjust("11 seconds")
      yield* builder.say("late\n")
      yield* builder.end(failing)
      assert.strictEqual((yield* patient.answer).status, "PermanentFailure")

      assert.strictEqual(yield* heard(hasty), "")
      assert.strictEqual((yield* hasty.answer).status, "TimedOut")
    }).pipe(Effect.scoped)
  )

  it.effect("are given up by a waiter whose time has passed, and ended if it was the last", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const scope = yield* Scope.make()
      const waiting = yield* Scope.provide(submit({ ...derive(), limits: { ...unlimited, logBytesMax: 3 } }), scope)
      const builder = yield* pool.next
      yield* builder.say("more than three\n")

      const answering = yield* Effect.forkChild(waiting.answer, { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      const answer = yield* Fiber.join(answering)
      assert.strictEqual(answer.status, "LogLimitExceeded")
      yield* heard(waiting)
      yield* Scope.close(scope, Exit.void)
      yield* builder.gone
    }).pipe(Effect.scoped)
  )
})
