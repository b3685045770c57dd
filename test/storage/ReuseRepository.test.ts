/** What the record says of finished builds as answers: which there are, what they made, and which are taken back. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { AccountId } from "../../src/domain/Account.ts"
import { AttemptId, type Backend, noUsage, type Outcome } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import { HostId } from "../../src/domain/Host.ts"
import type { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRecords } from "../../src/storage/BuildRecords.ts"
import { type BuildEnd, BuildRepository } from "../../src/storage/BuildRepository.ts"
import { type Distrusted, DistrustRepository } from "../../src/storage/DistrustRepository.ts"
import { ReuseRepository } from "../../src/storage/ReuseRepository.ts"
import { ViewRepository } from "../../src/storage/ViewRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { addNars, freshAccount, info, narHash, path } from "../support/store.ts"

const Repositories = Layer.mergeAll(
  AccountRepository.layer,
  BuildRecords.layer,
  BuildRepository.layer,
  DistrustRepository.layer,
  ReuseRepository.layer,
  ViewRepository.layer
).pipe(Layer.provideMerge(TestDatabase), Layer.provideMerge(SecureRandom.layerWebCrypto))

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())
let identities = 0
const newIdentity = () => BuildId.make((++identities).toString(16).padStart(64, "0"))
const derivation = path("a", "hello.drv")

/** A build by one attempt, from its queue to its end. */
const finished = Effect.fnUntraced(function* (
  identity: BuildId,
  account: AccountId,
  end: BuildEnd,
  attempt: {
    readonly outcome?: Outcome
    readonly sandbox?: Backend
    readonly epoch?: number
    readonly host?: string
  } = {}
) {
  const builds = yield* BuildRepository
  const [build, id] = [yield* uuid, AttemptId.make(yield* uuid)]
  yield* builds.create({ id: build, identity, derivation, name: "hello", system: "x86_64-linux", account })
  const { epoch = 1, host = "local", outcome = "succeeded", sandbox = "kvm" } = attempt
  const kind = { host: HostId.make(host), sandbox, epoch, versions: {}, cores: 1, memoryBytes: 2 ** 31 }
  yield* builds.beginAttempt(build, { id, ...kind })
  yield* builds.endAttempt(id, { outcome, detail: "", usage: noUsage, logBytes: 0 })
  yield* builds.finish(build, end)
  return build
})

const success = (...made: ReadonlyArray<PathInfo>): BuildEnd => ({
  state: "succeeded",
  status: "Built",
  message: "",
  outputs: made.map(({ contentAddress, narHash, path, references }, index) => ({
    name: index === 0 ? "out" : "dev",
    path,
    narHash,
    references,
    contentAddress
  }))
})
const failure: BuildEnd = { state: "failed", status: "PermanentFailure", message: "exit 1", outputs: [] }
const cancelled: BuildEnd = { state: "cancelled", status: "MiscFailure", message: "", outputs: [] }

layer(Repositories)("the record of reuse", (it) => {
  it.effect("has builds of the identity that have ended with an answer, as the asker sees them", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* freshAccount, yield* freshAccount]
      const identity = newIdentity()
      const out = info(path("b", "hello"), [path("b", "hello"), path("c", "input")], "out", { contentAddress: "x" })
      const dev = info(path("d", "hello-dev"), [], "dev")
      yield* addNars([out, dev, info(path("b", "hello"), [], "another")])
      const made = yield* finished(identity, one.id, success(out, dev))
      const failed = yield* finished(identity, other.id, failure, { outcome: "failed" })
      const late = yield* finished(identity, one.id, cancelled, { outcome: "timed-out" })
      yield* finished(identity, one.id, cancelled, { outcome: "cancelled" })
      yield* finished(newIdentity(), one.id, failure, { outcome: "failed" })
      yield* (yield* BuildRepository).setLimit(late, 60)
      yield* (yield* BuildRepository).setLimit(failed, 60)
      const views = yield* ViewRepository
      yield* views.add(other.view, [{ info: info(out.path, [], "another"), assured: false }])

      const records = yield* ReuseRepository
      const seen = yield* records.candidates(identity, other.id, other.view)

      assert.deepStrictEqual(
        seen.map(({ agrees, build, isComplete, isOwn, limitSeconds }) => [
          build,
          isOwn,
          isComplete,
          agrees,
          limitSeconds
        ]),
        [
          [made, false, true, false, null],
          [failed, true, false, true, null],
          [late, false, false, true, 60]
        ]
      )
      const [own] = yield* records.candidates(identity, one.id, one.view)
      assert.deepInclude(own, { build: made, isOwn: true, agrees: true, backend: "kvm", epoch: 1, cores: 1 })
      assert.deepStrictEqual(yield* records.outputs(made), [
        { name: "dev", path: dev.path, narHash: narHash("dev"), narSize: 120, references: [], contentAddress: "" },
        {
          name: "out",
          path: out.path,
          narHash: narHash("out"),
          narSize: 120,
          references: out.references,
          contentAddress: "x"
        }
      ])
    })
  )

  it.effect("reuses nothing that was recorded without what it refers to", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const identity = newIdentity()
      const out = info(path("f", "hello"), [], "old")
      yield* addNars([out])
      const build = yield* finished(identity, account.id, success(out))
      const sql = yield* SqlClient.SqlClient
      yield* sql`update build_output set reference_paths = null, ca = null where build = ${build}`

      const [old] = yield* (yield* ReuseRepository).candidates(identity, account.id, account.view)

      assert.isFalse(old?.isComplete)
    })
  )

  it.effect("shows a success behind however many failures, and never one that was itself answered", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const identity = newIdentity()
      const made = yield* finished(identity, account.id, success())
      for (let count = 0; count < 70; count++) yield* finished(identity, account.id, failure, { outcome: "failed" })
      const records = yield* ReuseRepository
      const name = { derivation, name: "hello", system: "x86_64-linux", account: account.id }
      const id = yield* uuid
      yield* records.record({ ...name, id, identity, from: made })

      const seen = yield* records.candidates(identity, account.id, account.view)

      assert.lengthOf(seen, 64)
      assert.strictEqual(seen[0]?.build, made)
      assert.notInclude(
        seen.map(({ build }) => build),
        id
      )
      const shown = Option.getOrThrow(yield* (yield* BuildRecords).find(id))
      assert.deepInclude(shown, { state: "succeeded", status: "Built", attempts: [], outputs: [] })
      assert.deepInclude(shown.reusedFrom, { id: made, accounts: [account.name] })
      const original = Option.getOrThrow(yield* (yield* BuildRecords).find(made))
      assert.deepStrictEqual(
        original.answered.map(({ id }) => id),
        [id]
      )
      assert.strictEqual(original.answeredCount, 1)
    })
  )

  it.effect("takes back what all that is said holds for, as often as asked", () =>
    Effect.gen(function* () {
      const account = yield* freshAccount
      const identity = newIdentity()
      const bad = { outcome: "failed", host: "bad", epoch: 7 } as const
      const build = yield* finished(identity, account.id, failure, bad)
      yield* finished(identity, account.id, failure, { ...bad, host: "good" })
      yield* finished(identity, account.id, failure, { ...bad, epoch: 8 })
      const sql = yield* SqlClient.SqlClient
      const [started] = yield* sql<{ readonly at: number }>`
        select ceil(extract(epoch from started_at) * 1000)::float8 as at from attempt where build = ${build}`
      const distrust = yield* DistrustRepository
      const wrong: Distrusted = { host: "bad", epoch: 7, backend: "kvm", before: null }
      const taken = Effect.fnUntraced(function* (distrusted: Distrusted) {
        const { attempts, resultCount, results } = yield* distrust.takeBack(distrusted)
        return [attempts, resultCount, results.map(({ build }) => build)]
      })
      const isDistrusted = Effect.map(
        Effect.flatMap(ReuseRepository, (records) => records.candidates(identity, account.id, account.view)),
        (seen) => seen.filter((each) => each.isDistrusted).map(({ build }) => build)
      )

      assert.deepStrictEqual(yield* taken({ ...wrong, backend: "process" }), [0, 0, []])
      assert.deepStrictEqual(yield* taken({ ...wrong, before: started!.at - 1000 }), [0, 0, []])
      assert.deepStrictEqual(yield* isDistrusted, [])
      assert.deepStrictEqual(yield* taken({ ...wrong, before: started!.at }), [1, 1, [build]])
      assert.deepStrictEqual(yield* taken(wrong), [1, 1, [build]])
      assert.deepStrictEqual(yield* isDistrusted, [build])
    })
  )
})
