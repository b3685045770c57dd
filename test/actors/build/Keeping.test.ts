/** What becomes of a wait whose client is gone, and of one whose server is. */
import { assert, layer } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Builds } from "../../../src/actors/build/Builds.ts"
import { DisconnectGrace } from "../../../src/actors/build/Keeping.ts"
import * as Recovery from "../../../src/actors/build/Recovery.ts"
import { Ending } from "../../../src/actors/Ending.ts"
import { Scheduler } from "../../../src/actors/scheduler/Scheduler.ts"
import type { Account } from "../../../src/domain/Account.ts"
import { defaults } from "../../../src/domain/Settings.ts"
import { Sizing } from "../../../src/domain/Sizing.ts"
import { BuildRecords } from "../../../src/storage/BuildRecords.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { WaitRepository } from "../../../src/storage/WaitRepository.ts"
import * as builders from "../../support/builders.ts"
import { type Asked, derive, heard, outputOf, Storage, unlimited } from "../../support/building.ts"
import { addNars, freshAccount } from "../../support/store.ts"

const grace = Duration.minutes(10)

/** A server over the storage that all of them share, until the scope closes. */
const server = Effect.fnUntraced(function* (isEnding = () => false) {
  const pool = yield* builders.makeAs()
  const context = yield* Layer.build(
    Recovery.layer.pipe(
      Layer.provideMerge(Builds.layer),
      Layer.provide(Layer.succeed(Sizing, { cores: 1, memoryBytes: 2 ** 30 })),
      Layer.provide(Scheduler.layer([builders.host(4)])),
      Layer.provide(pool.layer),
      Layer.provideMerge(Recovery.record),
      Layer.provide(Layer.succeed(DisconnectGrace, grace)),
      Layer.provide(Layer.succeed(Ending, isEnding))
    )
  )
  const submit = (account: Account, asked: Asked) =>
    Context.get(context, Builds).submit({ account, limits: unlimited, settings: defaults, check: false, ...asked })
  return { pool, submit }
})

/** A client that waits until it is gone one way or the other. */
const client = Effect.fnUntraced(function* (
  { submit }: Effect.Success<ReturnType<typeof server>>,
  account: Account,
  asked: Asked
) {
  const scope = yield* Scope.make()
  let departure: "left" | "silent" | null = null
  const waiting = yield* Scope.provide(submit(account, { ...asked, departure: () => departure }), scope)
  const goes = (how: typeof departure) =>
    Effect.suspend(() => {
      departure = how
      return Scope.close(scope, Exit.void)
    })
  return { waiting, leaves: goes("left"), fallsSilent: goes("silent"), isCutOff: goes(null) }
})

const stateOf = Effect.fnUntraced(function* ({ derivationPath }: Asked) {
  const records = yield* (yield* BuildRecords).list({ limit: 100 })
  return records.flatMap(({ attempts, derivation, state }) =>
    derivation.endsWith(derivationPath)
      ? [`${state}: ${attempts.map(({ outcome }) => outcome ?? "runs").join(", ")}`]
      : []
  )
})
const waits = Effect.flatMap(WaitRepository, ({ owed }) => owed)

/** What a builder makes of it. */
const made = Effect.fnUntraced(function* (asked: Asked) {
  const output = outputOf(asked, "made")
  yield* addNars([output.info])
  return Effect.succeed([output])
})

layer(Storage)("a wait", (it) => {
  it.effect("ends with its client's leaving, and with it the build", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const asked = derive()
      const one = yield* client(running, yield* freshAccount, asked)
      const builder = yield* running.pool.next
      assert.lengthOf(yield* waits, 1)

      yield* one.leaves

      yield* builder.gone
      assert.deepStrictEqual(yield* stateOf(asked), ["cancelled: cancelled"])
      assert.lengthOf(yield* waits, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("is kept for a client that has fallen silent, and no longer than its grace", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const asked = derive()
      const one = yield* client(running, yield* freshAccount, asked)
      const builder = yield* running.pool.next

      yield* one.fallsSilent

      const now = yield* Clock.currentTimeMillis
      assert.deepStrictEqual(
        (yield* waits).map(({ keptUntil }) => keptUntil),
        [now + Duration.toMillis(grace)]
      )
      yield* TestClock.adjust("9 minutes")
      yield* builder.say("still here\n")
      assert.deepStrictEqual(yield* stateOf(asked), ["building: runs"])
      yield* TestClock.adjust("1 minute")
      yield* builder.gone
      assert.deepStrictEqual(yield* stateOf(asked), ["cancelled: cancelled"])
    }).pipe(Effect.scoped)
  )

  it.effect("is taken up by its client, which hears the log from the first line", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const [asked, account] = [derive(), yield* freshAccount]
      const one = yield* client(running, account, asked)
      const builder = yield* running.pool.next
      yield* builder.say("one\n")
      yield* one.fallsSilent

      const again = yield* client(running, account, asked)
      yield* TestClock.adjust("11 minutes")
      yield* builder.say("two\n")
      yield* builder.end(yield* made(asked))

      assert.strictEqual(yield* heard(again.waiting), "one\ntwo\n")
      assert.strictEqual((yield* again.waiting.answer).status, "Built")
      assert.strictEqual(yield* running.pool.most, 1)
      yield* again.leaves
      assert.deepStrictEqual(yield* stateOf(asked), ["succeeded: succeeded"])
      assert.lengthOf(yield* waits, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("takes the outputs into its account's view, whether or not its client has come back", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const [asked, account] = [derive(), yield* freshAccount]
      const one = yield* client(running, account, asked)
      const builder = yield* running.pool.next
      yield* one.fallsSilent
      yield* builder.end(yield* made(asked))
      yield* builder.gone

      const { info } = outputOf(asked, "made")
      const views = yield* ViewRepository
      while ((yield* views.valid(account.view, [info.path])).length === 0) yield* Effect.yieldNow
      const again = yield* client(running, account, asked)
      assert.strictEqual((yield* again.waiting.answer).status, "AlreadyValid")
      assert.lengthOf(yield* waits, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("goes on by its own limits when its client is silent", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const asked = { ...derive(), limits: { ...unlimited, timeoutSeconds: 60 } }
      const one = yield* client(running, yield* freshAccount, asked)
      const builder = yield* running.pool.next
      while ((yield* stateOf(asked))[0] !== "building: runs") yield* Effect.yieldNow

      yield* one.fallsSilent
      yield* TestClock.adjust("1 minute")

      yield* builder.gone
      assert.deepStrictEqual(yield* stateOf(asked), ["cancelled: timed-out"])
    }).pipe(Effect.scoped)
  )

  it.effect("stays to the build's end where its client has asked for that", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const asked = { ...derive(), settings: { ...defaults, keepBuildsRunning: true } }
      const one = yield* client(running, yield* freshAccount, asked)
      const builder = yield* running.pool.next

      yield* one.leaves
      yield* TestClock.adjust("10 hours")
      yield* builder.end(yield* made(asked))
      yield* builder.gone

      assert.deepStrictEqual(yield* stateOf(asked), ["succeeded: succeeded"])
    }).pipe(Effect.scoped)
  )

  it.effect("of a build that nobody else could find is not kept", () =>
    Effect.gen(function* () {
      const running = yield* server()
      const asked = { ...derive(), check: true }
      const one = yield* client(running, yield* freshAccount, asked)
      const builder = yield* running.pool.next

      yield* one.fallsSilent

      yield* builder.gone
      assert.deepStrictEqual(yield* stateOf(asked), ["cancelled: cancelled"])
    }).pipe(Effect.scoped)
  )

  it.effect("is handed on by a server that ends, with what ran and what had not begun", () =>
    Effect.gen(function* () {
      const life = yield* Scope.make()
      let isEnding = false
      const before = yield* Scope.provide(
        server(() => isEnding),
        life
      )
      const account = yield* freshAccount
      // Four builders have room for these, and none for the last.
      const all = Array.from({ length: 5 }, () => derive())
      const clients = []
      for (const asked of all) clients.push(yield* client(before, account, asked))
      const atWork = yield* Effect.forEach([1, 2, 3, 4], () => before.pool.next)
      yield* Effect.forEach(clients.slice(0, 1), ({ leaves }) => leaves)
      yield* atWork[0]!.gone

      isEnding = true
      for (const { isCutOff } of clients.slice(1)) yield* isCutOff
      yield* Scope.close(life, Exit.void)

      const states = yield* Effect.forEach(all, stateOf)
      assert.deepStrictEqual(
        states.flat().filter((state) => !state.startsWith("queued")),
        ["cancelled: cancelled"]
      )
      const after = yield* server()
      for (let at = 1; at < 5; at++) {
        const builder = yield* after.pool.next
        const asked = all.find(({ derivationPath }) => derivationPath === builder.assignment.derivationPath)!
        yield* builder.end(yield* made(asked))
        yield* builder.gone
      }
      assert.isTrue((yield* Effect.forEach(all.slice(1), stateOf)).every(([state]) => state!.endsWith("succeeded")))
    }).pipe(Effect.scoped)
  )

  it.effect("is taken up after a crash, and what the dead server still says counts for nothing", () =>
    Effect.gen(function* () {
      const dead = yield* server()
      const [asked, account] = [derive(), yield* freshAccount]
      yield* client(dead, account, asked)
      const undead = yield* dead.pool.next
      yield* undead.say("one\n")

      const after = yield* server()
      const builder = yield* after.pool.next
      assert.deepStrictEqual(yield* stateOf(asked), ["building: lost, runs"])
      yield* undead.end(yield* made(asked))
      yield* undead.gone
      assert.deepStrictEqual(yield* stateOf(asked), ["building: lost, runs"])

      const again = yield* client(after, account, asked)
      yield* builder.say("one\ntwo\n")
      yield* builder.end(yield* made(asked))
      assert.strictEqual(yield* heard(again.waiting), "one\ntwo\n")
      assert.strictEqual((yield* again.waiting.answer).status, "Built")
      assert.deepStrictEqual(yield* stateOf(asked), ["succeeded: lost, succeeded"])
    }).pipe(Effect.scoped)
  )

  it.effect("is given up, after a crash, once its grace is over and nobody has come", () =>
    Effect.gen(function* () {
      const dead = yield* server()
      const asked = derive()
      yield* client(dead, yield* freshAccount, asked)
      yield* dead.pool.next

      const after = yield* server()
      const builder = yield* after.pool.next
      yield* TestClock.adjust("10 minutes")

      yield* builder.gone
      assert.deepStrictEqual(yield* stateOf(asked), ["cancelled: lost, cancelled"])
      assert.lengthOf(yield* waits, 0)
    }).pipe(Effect.scoped)
  )
})
