import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, HashMap, Layer, Option, Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import * as QuotaScheduler from "../../../src/actors/quota/QuotaScheduler.ts"
import { Quotas } from "../../../src/actors/quota/Quotas.ts"
import { Scheduler } from "../../../src/actors/scheduler/Scheduler.ts"
import { words } from "../../../src/actors/scheduler/Standing.ts"
import type { AccountId } from "../../../src/domain/Account.ts"
import { Host, HostId } from "../../../src/domain/Host.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"
import { Need } from "../../../src/domain/Need.ts"
import { SessionServices } from "../../support/sessions.ts"
import { freshAccount } from "../../support/store.ts"

const host = new Host({
  id: HostId.make("large"),
  systems: ["x86_64-linux"],
  features: [],
  cores: 100,
  memoryBytes: 100 * 2 ** 30,
  overheadBytes: 0
})

const services = QuotaScheduler.layer.pipe(
  Layer.provide(Scheduler.layer([host])),
  Layer.provideMerge(SessionServices),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

let names = 0
const need = (account: AccountId) =>
  new Need({
    lease: LeaseId.make(`lease-${names++}`),
    account,
    system: "x86_64-linux",
    features: [],
    cores: 1,
    memoryBytes: 2 ** 30,
    rank: 0
  })

/** A build of the account: its scope, and what it was told of its lease. */
const ask = Effect.fnUntraced(function* (account: AccountId) {
  const { request } = yield* Scheduler
  const scope = yield* Scope.make()
  const { granted, standing } = yield* Scope.provide(request(need(account)), scope)
  return { granted, standing, leave: Scope.close(scope, Exit.void) }
})

layer(services, { excludeTestServices: true, timeout: "1 minute" })("the scheduler, within quotas", (it) => {
  it.effect("runs as many of an account's builds as it may, and the next in its turn", () =>
    Effect.gen(function* () {
      const { books } = yield* Scheduler
      const quotas = yield* Quotas
      const { id } = yield* freshAccount
      yield* quotas.set(id, "running", 2)
      const [first, second, third, fourth] = [yield* ask(id), yield* ask(id), yield* ask(id), yield* ask(id)]
      yield* Effect.all([first.granted, second.granted])
      assert.strictEqual(
        (yield* books).loans.pipe((loans) => [...loans].length),
        2
      )
      const told = Option.getOrThrow(yield* Stream.runHead(third.standing))
      assert.include(words(told), "as many builds as it may")

      // One that leaves before its turn holds nobody up.
      yield* third.leave
      yield* first.leave
      yield* fourth.granted
      assert.strictEqual([...(yield* books).loans].length, 2)
      yield* Effect.all([second.leave, fourth.leave])
    })
  )

  it.effect("goes on as soon as it may run more", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const { id } = yield* freshAccount
      yield* quotas.set(id, "running", 0)
      const held = yield* ask(id)
      yield* quotas.set(id, "running", undefined)
      yield* held.granted
      yield* held.leave
    })
  )

  it.effect("shares what there is as the operator says", () =>
    Effect.gen(function* () {
      const { books } = yield* Scheduler
      const quotas = yield* Quotas
      const { id } = yield* freshAccount
      const weight = Effect.map(books, ({ line }) => HashMap.getUnsafe(line.accounts, id).weight)
      yield* quotas.set(id, "share", 3)
      const first = yield* ask(id)
      yield* first.granted
      assert.strictEqual(yield* weight, 3)

      yield* quotas.set(id, "share", undefined)
      const second = yield* ask(id)
      yield* second.granted
      assert.strictEqual(yield* weight, 1)
      yield* Effect.all([first.leave, second.leave])
    })
  )

  it.effect("holds nobody else back", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const [one, other] = [yield* freshAccount, yield* freshAccount]
      yield* quotas.set(one.id, "running", 0)
      const held = yield* ask(one.id)
      const runs = yield* ask(other.id)
      yield* runs.granted
      yield* Effect.all([held.leave, runs.leave])
    })
  )

  it.effect("counts those who run also where two leave at once, and another comes in between", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const { id } = yield* freshAccount
      yield* quotas.set(id, "running", 1)
      let waiting: Array<Deferred.Deferred<void>> | null = null
      const slow = Layer.succeed(Quotas, {
        ...quotas,
        of: (account) =>
          Effect.suspend(() => {
            if (waiting === null) return quotas.of(account)
            const answered = Deferred.makeUnsafe<void>()
            waiting.push(answered)
            return Effect.andThen(Deferred.await(answered), quotas.of(account))
          })
      })
      const own = QuotaScheduler.layer.pipe(Layer.provide(Scheduler.layer([host])), Layer.provide(slow), Layer.fresh)
      yield* Effect.gen(function* () {
        const runs = yield* ask(id)
        yield* runs.granted
        const held = yield* ask(id)
        const looks: Array<Deferred.Deferred<void>> = []
        waiting = looks
        const leaving = [yield* Effect.forkChild(held.leave), yield* Effect.forkChild(runs.leave)]
        while (looks.length < 2) yield* Effect.yieldNow
        waiting = null
        yield* Deferred.succeed(looks[0]!, undefined)
        yield* Fiber.join(leaving[0]!)
        const next = yield* ask(id)
        yield* next.granted
        yield* Deferred.succeed(looks[1]!, undefined)
        yield* Fiber.join(leaving[1]!)

        const last = yield* ask(id)
        const told = Option.getOrThrow(yield* Stream.runHead(last.standing))
        assert.strictEqual(told.reason, "quota")
        yield* Effect.all([next.leave, last.leave])
      }).pipe(Effect.provide(own))
    })
  )
})
