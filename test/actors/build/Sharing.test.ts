/** Nothing is built twice: by accounts that do not trust each other, at once or later, in every way in which it may end. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { BuildFailed, BuilderLost, type Kind } from "../../../src/actors/builder/BuilderPool.ts"
import { defaults } from "../../../src/domain/Settings.ts"
import { basicRealisationHash } from "../../../src/protocol/nix/OutputPaths.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { BuildRecords } from "../../../src/storage/BuildRecords.ts"
import { DistrustRepository } from "../../../src/storage/DistrustRepository.ts"
import { RealisationRepository } from "../../../src/storage/RealisationRepository.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import {
  answerTo,
  type Asked,
  derive,
  failing,
  output,
  outputOf,
  Storage,
  succeeding,
  unlimited,
  world
} from "../../support/building.ts"
import type { AtWork } from "../../support/builders.ts"
import { addNars, freshAccount, info, narHash } from "../../support/store.ts"

const kvm: Kind = { backend: "kvm", versions: {}, isIsolating: true }

const latest = Effect.gen(function* () {
  const records = yield* BuildRecords
  const [listed] = yield* records.list({ limit: 1 })
  return Option.getOrThrow(yield* records.find(listed!.id))
})

/** Ends well, with these outputs. */
const make = Effect.fnUntraced(function* (builder: AtWork, ...outputs: ReadonlyArray<ReturnType<typeof output>>) {
  yield* addNars(outputs.map(({ info }) => info))
  yield* builder.end(Effect.succeed(outputs))
})

layer(Storage)("a build", (it) => {
  it.effect(
    "that has ended well answers another account, which then sees what was made, and nothing else of the first",
    () =>
      Effect.gen(function* () {
        const { account, pool, submit, submitAs } = yield* world(kvm)
        const asked = derive()
        const { path } = outputOf(asked, "").info
        const first = yield* Effect.forkChild(answerTo(submit(asked)))
        const builder = yield* pool.next
        yield* builder.say("one\n")
        yield* make(builder, outputOf(asked, "made", [path]))
        assert.strictEqual((yield* Fiber.join(first)).status, "Built")

        const other = yield* freshAccount
        const derivationPath = StorePath.make(asked.derivationPath.replace(/^./, "z"))
        const second = yield* answerTo(submitAs(other, { ...asked, derivationPath }))

        assert.strictEqual(second.status, "Built")
        assert.deepStrictEqual(second.outputs, [{ name: "out", path }])
        assert.match(
          second.log,
          /^<drover: built on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; DROVER_REUSE_BUILDS=false asks for a fresh build>one\n$/
        )
        const views = yield* ViewRepository
        const [entry] = yield* views.findMany(other.view, [path])
        assert.deepInclude(entry, { narHash: narHash("made"), references: [path], deriver: derivationPath })
        assert.strictEqual(yield* pool.count, 1)
        const record = yield* latest
        assert.deepInclude(record, { state: "succeeded", attempts: [], notReused: null })
        assert.deepStrictEqual(
          record.waiters.map(({ account }) => account),
          [other.name]
        )
        assert.deepStrictEqual(record.reusedFrom?.accounts, [account.name])
      }).pipe(Effect.scoped)
  )

  it.effect("that has ended well answers nobody else from a sandbox that does not keep accounts apart", () =>
    Effect.gen(function* () {
      const { pool, submit, submitAs } = yield* world()
      const asked = derive()
      const first = yield* Effect.forkChild(answerTo(submit(asked)))
      yield* make(yield* pool.next, outputOf(asked, "made"))
      yield* Fiber.join(first)

      const second = yield* Effect.forkChild(answerTo(submitAs(yield* freshAccount, asked)))
      yield* make(yield* pool.next, outputOf(asked, "made"))

      assert.strictEqual((yield* Fiber.join(second)).log, "")
      assert.match((yield* latest).notReused ?? "", /: another account's, and 'process' does not keep accounts apart$/)
    }).pipe(Effect.scoped)
  )

  it.effect("that has ended well is built again for who asks for a fresh one, or for a second to compare", () =>
    Effect.gen(function* () {
      const { pool, submit, submitAs } = yield* world(kvm)
      const asked = derive()
      const first = yield* Effect.forkChild(answerTo(submit(asked)))
      yield* make(yield* pool.next, outputOf(asked, "made"))
      yield* Fiber.join(first)

      const settings = { ...defaults, reuseBuilds: false }
      const fresh = yield* Effect.forkChild(answerTo(submitAs(yield* freshAccount, { ...asked, settings })))
      yield* make(yield* pool.next, outputOf(asked, "made"))
      yield* Fiber.join(fresh)
      assert.strictEqual((yield* latest).notReused, "asked for afresh")

      const checked = yield* Effect.forkChild(answerTo(submit({ ...asked, check: true })))
      yield* make(yield* pool.next, outputOf(asked, "otherwise"))
      assert.strictEqual((yield* Fiber.join(checked)).status, "NotDeterministic")
      assert.strictEqual((yield* latest).notReused, "asked for again, to compare")
    }).pipe(Effect.scoped)
  )

  it.effect("that has ended well answers nobody once it is taken back, which names whom it touched", () =>
    Effect.gen(function* () {
      const { account, pool, submit, submitAs } = yield* world(kvm)
      const other = yield* freshAccount
      const asked = derive()
      const first = yield* Effect.forkChild(answerTo(submit(asked)))
      yield* make(yield* pool.next, outputOf(asked, "wrong"))
      yield* Fiber.join(first)
      yield* answerTo(submitAs(other, asked))

      const distrusted = { host: null, epoch: 1, backend: "kvm", before: null } as const
      const taken = yield* (yield* DistrustRepository).takeBack(distrusted)
      const { path } = outputOf(asked, "").info
      assert.deepStrictEqual(
        taken.holders.filter((holder) => holder.path.endsWith(path)).map(({ account }) => account),
        [account.name, other.name].sort()
      )
      const result = taken.results.find(({ derivation }) => derivation.endsWith(asked.derivationPath))
      assert.deepStrictEqual(result?.accounts, [account.name, other.name].sort())

      const again = yield* Effect.forkChild(answerTo(submitAs(yield* freshAccount, asked)))
      yield* make(yield* pool.next, outputOf(asked, "right"))
      yield* Fiber.join(again)
      assert.match((yield* latest).notReused ?? "", /: taken back$/)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "that has ended well whose outputs are named by what is in them, is known in each view under its own name",
    () =>
      Effect.gen(function* () {
        const { pool, submit, submitAs } = yield* world(kvm)
        const asked = derive({ outputs: [["out", { _tag: "Floating", method: "nar", algorithm: "sha256" }]] })
        const path = StorePath.make(`${"c".repeat(32)}-${asked.derivationPath.slice(33, -4)}`)
        const made = output("out", info(path, [], "floating", { contentAddress: "fixed:r:sha256:x" }))
        const first = yield* Effect.forkChild(answerTo(submit(asked)))
        yield* make(yield* pool.next, made)
        yield* Fiber.join(first)

        const other = yield* freshAccount
        const second = yield* answerTo(submitAs(other, asked))
        const third = yield* answerTo(submitAs(other, asked))

        assert.deepStrictEqual(second.outputs, [{ name: "out", path }])
        assert.strictEqual(third.status, "AlreadyValid")
        assert.deepStrictEqual(third.outputs, second.outputs)
        const realisations = yield* RealisationRepository
        const hash = basicRealisationHash(asked.derivationPath.slice(33, -4), asked.derivation)
        if (typeof hash !== "string") throw hash
        const found = yield* realisations.find(other.view, { hash, output: "out" })
        assert.deepInclude(Option.getOrThrow(found), { outPath: path })
        const keyed = yield* realisations.findKeyed(other.view, asked.derivationPath, "out")
        assert.deepInclude(Option.getOrThrow(keyed), { outPath: path })
        const stranger = yield* freshAccount
        assert.isTrue(Option.isNone(yield* realisations.find(stranger.view, { hash, output: "out" })))
      }).pipe(Effect.scoped)
  )

  it.effect("that has ended well is nobody else's when it is impure", () =>
    Effect.gen(function* () {
      const { pool, submit, submitAs } = yield* world(kvm)
      const asked = derive({ outputs: [["out", { _tag: "Impure", method: "nar", algorithm: "sha256" }]] })
      for (const ask of [
        submit,
        submit,
        (request: Asked) => Effect.flatMap(freshAccount, (other) => submitAs(other, request))
      ]) {
        const waiting = yield* Effect.forkChild(Effect.scoped(Effect.flatMap(ask(asked), ({ answer }) => answer)))
        yield* (yield* pool.next).end(succeeding)
        yield* Fiber.join(waiting)
      }
      assert.strictEqual(yield* pool.count, 3)
      assert.strictEqual((yield* latest).notReused, "impure")
    }).pipe(Effect.scoped)
  )

  const failed = (asked: Asked, kind: Kind) =>
    Effect.gen(function* () {
      const { pool, ...service } = yield* world(kind)
      const first = yield* Effect.forkChild(answerTo(service.submit(asked)))
      const builder = yield* pool.next
      yield* builder.say("first\n")
      yield* builder.end(failing)
      yield* Fiber.join(first)
      return { pool, ...service }
    })

  it.effect("that has failed answers with its log whoever would get no more, and says how to try again", () =>
    Effect.gen(function* () {
      const asked = derive()
      const { pool, submit } = yield* failed(asked, { ...kvm, backend: "process", isIsolating: false })
      const again = yield* answerTo(submit(asked))
      assert.strictEqual(again.status, "PermanentFailure")
      assert.strictEqual(again.message, "it failed")
      assert.match(
        again.log,
        /^<drover: failed on .* UTC; DROVER_REUSE_BUILD_FAILURES=false asks for another try>first\n$/
      )
      assert.strictEqual(yield* pool.count, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("that has failed is tried again for who does not want its failure, or would get more cores", () =>
    Effect.gen(function* () {
      const asked = derive()
      const { pool, submit, submitAs } = yield* failed(asked, kvm)
      for (const settings of [
        { ...defaults, reuseBuildFailures: false },
        { ...defaults, coresMin: 2 }
      ]) {
        const trying = yield* Effect.forkChild(answerTo(submit({ ...asked, settings })))
        yield* (yield* pool.next).end(failing)
        yield* Fiber.join(trying)
      }
      assert.match((yield* latest).notReused ?? "", /: it failed with 1 cores, and would have 2 now$/)
      // By now there is one with as many cores.
      const settings = { ...defaults, coresMin: 2 }
      yield* answerTo(submitAs(yield* freshAccount, { ...asked, settings }))
      assert.strictEqual(yield* pool.count, 3)
    }).pipe(Effect.scoped)
  )

  it.effect("that has failed names the derivation as whoever hears of it does", () =>
    Effect.gen(function* () {
      const { pool, submit, submitAs } = yield* world(kvm)
      const asked = derive()
      const first = yield* Effect.forkChild(answerTo(submit(asked)))
      const message = `builder for '/nix/store/${asked.derivationPath}' failed`
      yield* (yield* pool.next).end(
        Effect.fail(new BuildFailed({ failure: { status: "PermanentFailure", outcome: "failed", message } }))
      )
      yield* Fiber.join(first)
      const derivationPath = StorePath.make(asked.derivationPath.replace(/^./, "z"))
      const second = yield* answerTo(submitAs(yield* freshAccount, { ...asked, derivationPath }))
      assert.strictEqual(second.message, `builder for '/nix/store/${derivationPath}' failed`)
    }).pipe(Effect.scoped)
  )

  it.effect("that has failed for want of a builder is nobody's answer", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world(kvm)
      const asked = derive()
      const settings = { ...defaults, buildRestartsMax: 0 }
      const first = yield* Effect.forkChild(answerTo(submit({ ...asked, settings })))
      yield* (yield* pool.next).end(Effect.fail(new BuilderLost({ fault: "service", detail: "gone" })))
      assert.strictEqual((yield* Fiber.join(first)).status, "TransientFailure")

      const second = yield* Effect.forkChild(answerTo(submit(asked)))
      yield* make(yield* pool.next, outputOf(asked, "made"))
      assert.strictEqual((yield* Fiber.join(second)).status, "Built")
    }).pipe(Effect.scoped)
  )

  it.effect("that has failed by its waiter's patience answers who has no more of it, and asks for such answers", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world(kvm)
      const asked = derive()
      const within = (timeoutSeconds: number, reuseBuildTimeouts: boolean) =>
        submit({
          ...asked,
          limits: { ...unlimited, timeoutSeconds },
          settings: { ...defaults, reuseBuildTimeouts }
        })
      const wait = Effect.fnUntraced(function* (seconds: number, reuse: boolean) {
        const waiting = yield* Effect.forkChild(answerTo(within(seconds, reuse)))
        const builder = yield* pool.next
        yield* TestClock.adjust(`${seconds + 1} seconds`)
        const answer = yield* Fiber.join(waiting)
        yield* builder.gone
        return answer
      })
      assert.match((yield* wait(10, true)).message, /timed out after 10 seconds$/)
      const reused = yield* answerTo(within(7, true))
      assert.strictEqual(reused.status, "TimedOut")
      assert.match(reused.message, /timed out after 7 seconds$/)
      yield* wait(11, true)
      yield* wait(7, false)
      assert.strictEqual(yield* pool.count, 3)
    }).pipe(Effect.scoped)
  )

  it.effect("under way is one for fifty who ask at once, before and after its end, and tells each of them all", () =>
    Effect.gen(function* () {
      const { pool, submitAs } = yield* world(kvm)
      const asked = derive()
      const accounts = yield* Effect.forEach(Array.from({ length: 10 }), () => freshAccount)
      const ask = (index: number) => Effect.forkChild(answerTo(submitAs(accounts[index % 10]!, asked)))
      const early = yield* Effect.forEach(Array.from({ length: 30 }), (_, index) => ask(index))
      const builder = yield* pool.next
      yield* builder.say("one\ntwo\n")
      const ending = yield* Effect.forkChild(make(builder, outputOf(asked, "made")))
      const late = yield* Effect.forEach(Array.from({ length: 20 }), (_, index) => ask(index))
      yield* Fiber.join(ending)

      const answers = yield* Fiber.joinAll([...early, ...late])
      for (const { log, outputs, status } of answers) {
        // Who comes after the first of an account has had its answer, has the outputs.
        if (status === "AlreadyValid") continue
        assert.strictEqual(status, "Built")
        assert.strictEqual(log.replace(/^<drover: built on [^>]*>/, ""), "one\ntwo\n")
        assert.deepStrictEqual(outputs, answers[0]!.outputs)
      }
      assert.strictEqual(yield* pool.count, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("under way is not joined by who would get more, and is by who would get less", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world(kvm)
      const asked = derive()
      yield* submit({ ...asked, settings: { ...defaults, coresMin: 2 } })
      const two = yield* pool.next
      yield* submit(asked)
      const larger = yield* Effect.forkChild(
        submit({ ...asked, settings: { ...defaults, coresMin: 3 } }).pipe(Effect.andThen(Effect.never))
      )
      // There is room for one of them at a time, so the larger waits; the smaller has joined and waits for no room.
      yield* two.end(failing)
      const three = yield* pool.next
      assert.strictEqual(three.assignment.lease.cores, 3)
      assert.strictEqual(yield* pool.count, 2)
      yield* Fiber.interrupt(larger)
    }).pipe(Effect.scoped)
  )

  it.effect("under way whose end is known is joined no more, though somebody still waits with it", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world(kvm)
      const asked = derive()
      const first = yield* submit(asked)
      yield* (yield* pool.next).end(failing)
      yield* first.answer

      // The first still listens, and is in nobody's way.
      const settings = { ...defaults, reuseBuildFailures: false }
      const second = yield* Effect.forkChild(answerTo(submit({ ...asked, settings })))
      yield* (yield* pool.next).end(failing)
      yield* Fiber.join(second)
      assert.strictEqual(yield* pool.count, 2)
      assert.strictEqual(yield* pool.most, 1)
    }).pipe(Effect.scoped)
  )
})
