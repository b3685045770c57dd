import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Account } from "../../src/domain/Account.ts"
import { AttemptId, noUsage } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import { HostId } from "../../src/domain/Host.ts"
import { defaults } from "../../src/domain/Settings.ts"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRecords } from "../../src/storage/BuildRecords.ts"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { HostRepository } from "../../src/storage/HostRepository.ts"
import { WaitRepository } from "../../src/storage/WaitRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { freshAccount, path } from "../support/store.ts"

const Repositories = Layer.mergeAll(
  BuildRecords.layer,
  BuildRepository.layer,
  AccountRepository.layer,
  HostRepository.layer,
  WaitRepository.layer
).pipe(Layer.provideMerge(TestDatabase), Layer.provideMerge(SecureRandom.layerWebCrypto))

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())
const drv = path("a", "hello.drv")
/** With bytes that are no text, and an order that is no alphabet's. */
const derivation: BasicDerivation = {
  outputs: [["out", { _tag: "InputAddressed", path: path("b", "hello") }]],
  inputSources: [path("c", "input")],
  system: "x86_64-linux",
  builder: Uint8Array.of(0x2f, 0xff),
  arguments: [Uint8Array.of(0xfe), new Uint8Array(0)],
  environment: [[Uint8Array.of(0x62), Uint8Array.of(0x80)]]
}
const limits = { timeoutSeconds: 7, silenceSecondsMax: null, logBytesMax: 100 }
const settings = { ...defaults, keepBuildsRunning: true, coresMax: 3 }

const newBuild = Effect.fnUntraced(function* (account: Account) {
  const id = yield* uuid
  yield* (yield* BuildRepository).create({
    id,
    identity: BuildId.make("ab".repeat(32)),
    derivation: drv,
    name: "hello",
    system: "x86_64-linux",
    account: account.id,
    notReused: "none"
  })
  return id
})
const newWait = Effect.fnUntraced(function* (account: Account, build: string) {
  const id = yield* uuid
  yield* (yield* WaitRepository).begin({ id, build, account, derivation, limits, settings })
  return id
})
const attempt = Effect.fnUntraced(function* (build: string, named?: AttemptId) {
  const id = named ?? AttemptId.make(yield* uuid)
  const kind = {
    host: HostId.make("local"),
    sandbox: "process" as const,
    epoch: 1,
    versions: {},
    cores: 1,
    memoryBytes: 2 ** 30
  }
  return { id, written: yield* (yield* BuildRepository).beginAttempt(build, { id, ...kind }) }
})
const record = Effect.fnUntraced(function* (build: string) {
  return Option.getOrThrow(yield* (yield* BuildRecords).find(build))
})
const outcomes = (build: string) => Effect.map(record(build), ({ attempts }) => attempts.map(({ outcome }) => outcome))
const owed = Effect.flatMap(WaitRepository, (waits) => waits.owed)
const soon = Effect.map(
  Effect.clockWith((clock) => clock.currentTimeMillis),
  (now) => now + 3_600_000
)

layer(Repositories, { excludeTestServices: true })("WaitRepository", (it) => {
  it.effect("keeps what was asked for as it was asked for", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const build = yield* newBuild(account)
      const id = yield* newWait(account, build)

      const found = (yield* owed).find((one) => one.id === id)
      const identity = BuildId.make("ab".repeat(32))
      assert.deepStrictEqual(found, {
        ...{ id, build, identity, account, derivationPath: drv, derivation, limits, settings },
        keptUntil: null
      })
    })
  )

  it.effect("says until when a client may come back", () =>
    Effect.gen(function* () {
      const waits = yield* WaitRepository
      const account = yield* freshAccount
      const build = yield* newBuild(account)
      const [some, ever] = [yield* newWait(account, build), yield* newWait(account, build)]
      const until = yield* soon
      yield* waits.keep(some, until)
      yield* waits.keep(ever, Infinity)

      const found = new Map((yield* owed).map(({ id, keptUntil }) => [id, keptUntil]))
      assert.strictEqual(found.get(some), until)
      assert.strictEqual(found.get(ever), Infinity)
    })
  )

  it.effect("forgets who has left, and all who waited for what has ended", () =>
    Effect.gen(function* () {
      const waits = yield* WaitRepository
      const account = yield* freshAccount
      const [one, two] = [yield* newBuild(account), yield* newBuild(account)]
      const left = yield* newWait(account, one)
      const stays = yield* newWait(account, one)
      yield* newWait(account, two)
      yield* waits.end(left)
      yield* (yield* BuildRepository).finish(two, {
        state: "failed",
        status: "PermanentFailure",
        message: "",
        outputs: []
      })
      yield* newWait(account, two)

      const found = (yield* owed).filter(({ build }) => build === one || build === two)
      assert.deepStrictEqual(
        found.map(({ id }) => id),
        [stays]
      )
    })
  )

  it.effect("hands on, when a server was killed, what somebody may come back for, and ends the rest", () =>
    Effect.gen(function* () {
      const waits = yield* WaitRepository
      const before = yield* waits.interrupted("killed")
      const account = yield* freshAccount
      const building = yield* newBuild(account)
      yield* newWait(account, building)
      const { id } = yield* attempt(building)
      const queued = yield* newBuild(account)
      yield* waits.keep(yield* newWait(account, queued), yield* soon)
      const late = yield* newBuild(account)
      yield* waits.keep(yield* newWait(account, late), 0)
      const alone = yield* newBuild(account)

      const found = yield* waits.interrupted("killed")

      assert.deepStrictEqual(found, { attempts: 1, queued: before.queued + 2, cancelled: 2 })
      assert.deepStrictEqual(
        (yield* owed).map(({ build }) => build).filter((build) => [building, queued, late, alone].includes(build)),
        [building, queued]
      )
      const states = yield* Effect.forEach([building, queued, late, alone], (build) =>
        Effect.map(record(build), ({ state }) => state)
      )
      assert.deepStrictEqual(states, ["queued", "queued", "cancelled", "cancelled"])
      assert.deepStrictEqual(yield* outcomes(building), ["lost"])

      // The server that was thought dead: nothing that it still has to say counts.
      const records = yield* BuildRepository
      const late_ = { outcome: "succeeded" as const, detail: "", usage: noUsage, logBytes: 0 }
      assert.strictEqual(yield* records.endAttempt(id, late_), "superseded")
      const { id: next } = yield* attempt(building)
      assert.strictEqual(yield* records.endAttempt(id, late_), "superseded")
      assert.strictEqual((yield* attempt(building, id)).written, "superseded")
      const success = { state: "succeeded", status: "Built", message: "", outputs: [] } as const
      assert.strictEqual(yield* records.finish(building, success, id), "superseded")
      assert.deepStrictEqual(yield* outcomes(building), ["lost", null])
      yield* records.endAttempt(next, late_)
      assert.strictEqual(yield* records.finish(building, success, next), "written")
    })
  )

  it.effect("gives up what was under way at every crash, and blames no build for an end in order", () =>
    Effect.gen(function* () {
      const waits = yield* WaitRepository
      const account = yield* freshAccount
      const build = yield* newBuild(account)
      yield* newWait(account, build)
      const life = Effect.fnUntraced(function* (how: "ended" | "killed") {
        yield* attempt(build)
        yield* waits.interrupted(how)
        return (yield* record(build)).state
      })

      assert.strictEqual(yield* life("killed"), "queued")
      assert.strictEqual(yield* life("ended"), "queued")
      assert.strictEqual(yield* life("ended"), "queued")
      assert.strictEqual(yield* life("killed"), "queued")
      assert.strictEqual(yield* life("killed"), "cancelled")
      assert.deepStrictEqual(yield* outcomes(build), ["lost", "cancelled", "cancelled", "lost", "lost"])
    })
  )

  it.effect("hands on what was lost to hosts as often as that, however its server ends", () =>
    Effect.gen(function* () {
      const waits = yield* WaitRepository
      const builds = yield* BuildRepository
      const account = yield* freshAccount
      const build = yield* newBuild(account)
      yield* newWait(account, build)
      const end = { outcome: "lost", detail: "no sandbox", usage: noUsage, logBytes: 0 } as const
      for (let times = 0; times < 5; times++) yield* builds.endAttempt((yield* attempt(build)).id, end)

      for (const how of ["ended", "killed"] as const) {
        yield* waits.interrupted(how)
        assert.strictEqual((yield* record(build)).state, "queued")
      }
    })
  )

  it.effect("remembers which hosts are out of service", () =>
    Effect.gen(function* () {
      const hosts = yield* HostRepository
      const [one, two] = [HostId.make("one"), HostId.make("two")]
      yield* hosts.setDrained(two, true)
      yield* hosts.setDrained(one, true)
      yield* hosts.setDrained(one, true)
      assert.deepStrictEqual(yield* hosts.drained, [one, two])
      yield* hosts.setDrained(one, false)
      assert.deepStrictEqual(yield* hosts.drained, [two])
    })
  )
})
