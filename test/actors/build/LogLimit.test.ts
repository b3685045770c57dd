/** A log that is longer than its waiter allows: of a build that runs, that has just ended, and that was reused. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Kind } from "../../../src/actors/builder/BuilderPool.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { answerTo, derive, failing, outputOf, Storage, unlimited, world } from "../../support/building.ts"
import { addNars, freshAccount } from "../../support/store.ts"

const kvm: Kind = { backend: "kvm", versions: {}, isIsolating: true }

layer(Storage)("a build whose log is long", (it) => {
  it.effect("fails for who allows less, however it comes to its answer, and for nobody else", () =>
    Effect.gen(function* () {
      const { account, pool, submit, submitAs } = yield* world(kvm)
      const asked = derive()
      const within = (logBytesMax: number) => ({ ...asked, limits: { ...unlimited, logBytesMax } })
      const first = yield* Effect.forkChild(answerTo(submit(within(8))))
      const second = yield* Effect.forkChild(answerTo(submit(within(7))))
      const builder = yield* pool.next
      yield* builder.say("one\ntwo\n")
      // At once, before anybody has looked at what it wrote.
      const made = outputOf(asked, "made")
      yield* addNars([made.info])
      yield* builder.end(Effect.succeed([made]))
      assert.strictEqual((yield* Fiber.join(first)).status, "Built")
      const left = yield* Fiber.join(second)
      assert.strictEqual(left.status, "LogLimitExceeded")
      assert.match(left.message, /killed after writing more than 7 bytes of log output$/)

      const stranger = yield* freshAccount
      const later = yield* answerTo(submitAs(stranger, within(7)))
      assert.deepInclude(later, { status: "LogLimitExceeded", message: left.message, outputs: [] })
      assert.match(later.log, /^<drover: built on [^>]*>one\ntwo$/)
      const views = yield* ViewRepository
      const paths = [made.info.path]
      assert.deepStrictEqual(yield* views.valid(stranger.view, paths), [])
      assert.deepStrictEqual(yield* views.valid(account.view, paths), paths)

      const patient = yield* answerTo(submitAs(stranger, within(8)))
      assert.strictEqual(patient.status, "Built")
      assert.match(patient.log, /^<drover: built on [^>]*>one\ntwo\n$/)
      assert.strictEqual(yield* pool.count, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("fails by that for who allows less, also if it has failed by itself", () =>
    Effect.gen(function* () {
      const asked = derive()
      const { pool, submit } = yield* world(kvm)
      const first = yield* Effect.forkChild(answerTo(submit(asked)))
      const builder = yield* pool.next
      yield* builder.say("first\n")
      yield* builder.end(failing)
      yield* Fiber.join(first)

      const again = yield* answerTo(submit({ ...asked, limits: { ...unlimited, logBytesMax: 5 } }))
      assert.strictEqual(again.status, "LogLimitExceeded")
      assert.match(again.log, /^<drover: failed on [^>]*>first$/)
      assert.strictEqual(yield* pool.count, 1)
    }).pipe(Effect.scoped)
  )
})
