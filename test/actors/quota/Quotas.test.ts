import { assert, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Quotas } from "../../../src/actors/quota/Quotas.ts"
import * as Upload from "../../../src/actors/session/Upload.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { QuotaRepository } from "../../../src/storage/QuotaRepository.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { narOf } from "../../support/nar.ts"
import { infoOf, newPath, SessionServices } from "../../support/sessions.ts"
import { freshAccount } from "../../support/store.ts"

const outcome = <A, E extends { readonly message: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onSuccess: () => "taken", onFailure: ({ message }) => message })

layer(SessionServices, { excludeTestServices: true, timeout: "1 minute" })("quotas", (it) => {
  it.effect("are taken until a scope ends, and refused by both numbers when there are none left", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const account = yield* freshAccount
      yield* quotas.set(account.id, "builds", 2)
      const open = yield* Scope.make()
      const take = Scope.provide(quotas.take(account, "builds"), open)
      assert.deepStrictEqual([yield* outcome(take), yield* outcome(take)], ["taken", "taken"])
      const words = `the account '${account.name}' may have at most 2 builds asked for and not yet answered, and this would make it 3`
      assert.strictEqual(yield* outcome(take), words)
      assert.deepStrictEqual(yield* quotas.used(account), { builds: 2, connections: 0, stored: 0 })
      yield* Scope.close(open, Exit.void)
      assert.deepStrictEqual(yield* quotas.used(account), { builds: 0, connections: 0, stored: 0 })
    })
  )

  it.effect("are each account's own", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const [one, other] = [yield* freshAccount, yield* freshAccount]
      yield* quotas.set(one.id, "connections", 0)
      assert.notStrictEqual(yield* outcome(Effect.scoped(quotas.take(one, "connections"))), "taken")
      assert.strictEqual(yield* outcome(Effect.scoped(quotas.take(other, "connections"))), "taken")
    })
  )

  it.effect("are what the operator said last, and what everybody has when that is taken back", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const { id } = yield* freshAccount
      const before = yield* quotas.of(id)
      yield* quotas.set(id, "log", 5)
      yield* quotas.set(id, "connections", null)
      assert.deepStrictEqual(yield* quotas.of(id), { ...before, log: 5, connections: null })
      yield* quotas.set(id, "log", undefined)
      yield* quotas.set(id, "connections", undefined)
      assert.deepStrictEqual(yield* quotas.of(id), before)
    })
  )

  it.effect("count what is stored once, and refuse what would be too much before it comes", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const account = yield* freshAccount
      const views = yield* ViewRepository
      const bytes = narOf("contents".repeat(100))
      const put = (name: string) =>
        Effect.scoped(
          Effect.gen(function* () {
            const upload = yield* Upload.make(account)
            yield* upload.receive(infoOf(newPath(name), bytes), Source.fromChunks([bytes]))
            yield* upload.commit
          })
        )
      yield* quotas.set(account.id, "stored", 2 * bytes.length)
      yield* put("one")
      assert.strictEqual(yield* views.storedBytes(account.view), bytes.length)
      yield* put("two")
      assert.include(yield* outcome(put("three")), `at most ${2 * bytes.length} bytes of NARs`)
      assert.strictEqual((yield* views.all(account.view)).length, 2)
      // What was refused holds no room.
      yield* quotas.set(account.id, "stored", 3 * bytes.length)
      assert.strictEqual(yield* outcome(put("four")), "taken")
      assert.strictEqual((yield* quotas.used(account)).stored, 3 * bytes.length)
    })
  )

  it.effect("count paths that come together, as they come", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const account = yield* freshAccount
      const bytes = narOf("several")
      yield* quotas.set(account.id, "stored", 2 * bytes.length)
      const all = Effect.scoped(
        Effect.gen(function* () {
          const upload = yield* Upload.make(account)
          for (const name of ["a", "b", "c"]) {
            yield* upload.receive(infoOf(newPath(name), bytes), Source.fromChunks([bytes]))
          }
          yield* upload.commit
        })
      )
      assert.include(yield* outcome(all), "bytes of NARs")
      assert.deepStrictEqual((yield* quotas.used(account)).stored, 0)
    })
  )

  it.effect("hold against a NAR that does not say how large it is", () =>
    Effect.gen(function* () {
      const quotas = yield* Quotas
      const account = yield* freshAccount
      const bytes = narOf("x".repeat(10_000))
      yield* quotas.set(account.id, "stored", 5_000)
      const read = Effect.scoped(
        Effect.flatMap(Upload.make(account), (upload) => upload.read(Source.fromChunks([bytes]), {}))
      )
      assert.notStrictEqual(yield* outcome(read), "taken")
      yield* quotas.set(account.id, "stored", null)
      assert.strictEqual(yield* outcome(read), "taken")
    })
  )

  it.effect("are the operator's also where an account is just being asked about for the first time", () =>
    Effect.gen(function* () {
      const [asked, answered] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let log: number | null = null
      let lookUps = 0
      const records = Layer.succeed(QuotaRepository, {
        find: () =>
          Effect.gen(function* () {
            const found = log === null ? {} : { log }
            if (lookUps++ === 0) {
              yield* Deferred.succeed(asked, undefined)
              yield* Deferred.await(answered)
            }
            return found
          }),
        set: (_account, _name, amount) => Effect.sync(() => void (log = amount)),
        unset: () => Effect.void
      })
      const quotas = Context.get(
        yield* Layer.build(Quotas.layer({ storedBytes: null }).pipe(Layer.provide(records), Layer.fresh)),
        Quotas
      )
      const { id } = yield* freshAccount
      const first = yield* Effect.forkChild(quotas.of(id))
      yield* Deferred.await(asked)
      yield* quotas.set(id, "log", 5)
      yield* Deferred.succeed(answered, undefined)
      yield* Fiber.join(first)

      assert.strictEqual((yield* quotas.of(id)).log, 5)
    }).pipe(Effect.scoped)
  )
})
