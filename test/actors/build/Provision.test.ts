import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import * as Provision from "../../../src/actors/build/Provision.ts"
import { BuildFailed, BuilderLost, BuilderPool } from "../../../src/actors/builder/BuilderPool.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import * as BuildId from "../../../src/domain/BuildId.ts"
import * as Requirements from "../../../src/domain/Requirements.ts"
import { defaults } from "../../../src/domain/Settings.ts"
import { BuildRecords } from "../../../src/storage/BuildRecords.ts"
import { HistoryRepository } from "../../../src/storage/HistoryRepository.ts"
import * as builders from "../../support/builders.ts"
import { derive, heard, Storage, succeeding, world } from "../../support/building.ts"
import { GiB, host } from "../../support/needs.ts"

const starved = Effect.fail(
  new BuildFailed({
    failure: { status: "PermanentFailure", outcome: "out-of-memory", message: "out of memory" },
    usage: {
      cpuUserMicroseconds: 1,
      cpuSystemMicroseconds: 1,
      memoryPeakBytes: GiB,
      memoryHeldBytes: GiB,
      runMilliseconds: 1
    }
  })
)
const crashed = Effect.fail(new BuilderLost({ fault: "sandbox", detail: "its machine ended" }))

const settings = { ...defaults, memoryBytesDefault: GiB }
/** Without the service's lines, such as those on its place in the queue. */
const logIn = (heard: string) => heard.replaceAll(/<[^>]*>/g, "")
const latest = Effect.map(
  Effect.flatMap(BuildRecords, (records) => records.list({ limit: 1 })),
  ([build]) => build
)

layer(Storage)("a build that is given too little", (it) => {
  it.effect("goes again with more memory, unseen by whoever waits", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = { ...derive(), settings }
      const waiting = yield* submit(asked)
      const first = yield* pool.next
      yield* first.say("one\n")
      yield* first.end(starved)
      yield* first.gone
      const second = yield* pool.next
      const joining = yield* submit(asked)
      yield* second.say("one\ntwo\n")
      yield* second.end(succeeding)

      assert.strictEqual(yield* heard(waiting), "one\ntwo\n")
      assert.strictEqual(yield* heard(joining), "one\ntwo\n")
      assert.strictEqual((yield* waiting.answer).status, "Built")
      assert.strictEqual((yield* joining.answer).status, "Built")
      assert.deepStrictEqual(
        (yield* latest)?.attempts.map(({ memoryBytes, outcome }) => [memoryBytes / GiB, outcome]),
        [
          [1, "out-of-memory"],
          [2, "succeeded"]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is heard from its next attempt on by who comes between the two", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const whole = { ...settings, coresMin: 4 }
      const asked = { ...derive(), settings: whole }
      yield* submit(asked)
      const first = yield* pool.next
      yield* first.say("one\n")
      // Waits for the same cores, and has waited for longer.
      yield* submit({ ...derive(), settings: whole })
      yield* first.end(starved)
      const other = yield* pool.next
      const joining = yield* submit(asked)
      const listening = yield* Effect.forkChild(heard(joining))
      yield* other.end(succeeding)
      const second = yield* pool.next
      yield* second.say("another\n")
      yield* second.end(succeeding)

      assert.strictEqual(logIn(yield* Fiber.join(listening)), "another\n")
    }).pipe(Effect.scoped)
  )

  it.effect("is a lesson for the next of its name", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const waiting = yield* submit({ ...derive(), settings })
      yield* (yield* pool.next).end(starved)
      yield* (yield* pool.next).end(succeeding)
      yield* waiting.answer

      yield* submit({ ...derive(), settings })

      assert.strictEqual((yield* pool.next).assignment.lease.memoryBytes, 2 * GiB)
    }).pipe(Effect.scoped)
  )

  it.effect("fails when it has had all that its client allows, and is told how to have more", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const waiting = yield* submit({ ...derive(), settings: { ...settings, memoryBytesMax: 2 * GiB } })
      yield* (yield* pool.next).end(starved)
      yield* (yield* pool.next).end(starved)

      const { message, status } = yield* waiting.answer
      assert.strictEqual(status, "PermanentFailure")
      assert.match(message, /^out of memory; .*DROVER_MAX_MEM/)
    }).pipe(Effect.scoped)
  )

  it.effect("has no more than a host has", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const most = builders.host(4).memoryBytes
      const waiting = yield* submit({ ...derive(), settings: { ...settings, memoryBytesDefault: most / 2 } })
      yield* (yield* pool.next).end(starved)
      const last = yield* pool.next
      yield* last.end(starved)

      assert.strictEqual(last.assignment.lease.memoryBytes, most)
      assert.match((yield* waiting.answer).message, /no host of this service has more/)
    }).pipe(Effect.scoped)
  )
})

const unasked = () => assert.fail("nobody asks this")

describe("a build of a system that some hosts only emulate", () => {
  it.effect("gets no more than a host has that would be given it", () =>
    Effect.gen(function* () {
      const native = host("native", 2, 4, { overheadBytes: 0 })
      const emulating = host("other", 8, 64, {
        systems: ["aarch64-linux", "x86_64-linux"],
        emulatedSystems: ["x86_64-linux"],
        overheadBytes: 0
      })
      const provide = yield* Provision.make.pipe(
        Effect.provide([
          Layer.succeed(BuilderPool, { hosts: [native, emulating], kindOf: unasked, epoch: 1, run: unasked }),
          Layer.succeed(HistoryRepository, { find: () => Effect.succeed({ identity: [], version: [], name: [] }) })
        ])
      )
      const { derivation } = derive()
      const asked = {
        account: AccountId.make("00000000-0000-7000-8000-000000000001"),
        identity: BuildId.of("x", derivation, []),
        name: "x",
        requirements: Requirements.of(derivation),
        settings: { ...settings, memoryBytesDefault: 32 * GiB, coresDefault: 8 }
      }
      const here = yield* provide({ ...asked, system: "x86_64-linux" })
      const there = yield* provide({ ...asked, system: "aarch64-linux" })

      assert.deepStrictEqual([here.memoryBytes / GiB, here.memoryBytesMax / GiB, here.cores], [4, 4, 2])
      assert.deepStrictEqual([there.memoryBytes / GiB, there.memoryBytesMax / GiB, there.cores], [32, 64, 8])
    })
  )
})

layer(Storage)("a build that ends its sandbox", (it) => {
  it.effect("is told that it does, after three times, and tried afresh when it is asked for again", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const asked = derive()
      const waiting = yield* submit(asked)
      for (let time = 0; time < 3; time++) yield* (yield* pool.next).end(crashed)
      const { message, status } = yield* waiting.answer

      assert.strictEqual(status, "PermanentFailure")
      assert.match(message, /sandbox ended 3 times.*its machine ended/)
      const again = yield* submit(asked)
      yield* (yield* pool.next).end(succeeding)
      assert.strictEqual((yield* again.answer).status, "Built")
    }).pipe(Effect.scoped)
  )

  it.effect("is started again as often as its client says", () =>
    Effect.gen(function* () {
      const { pool, submit } = yield* world()
      const waiting = yield* submit({ ...derive(), settings: { ...defaults, buildRestartsMax: 0 } })
      yield* (yield* pool.next).end(crashed)

      const { message, status } = yield* waiting.answer
      assert.strictEqual(status, "TransientFailure")
      assert.match(message, /lost once: its machine ended/)
    }).pipe(Effect.scoped)
  )
})
