import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { AttemptId, noUsage, type Outcome, type Usage } from "../../src/domain/Attempt.ts"
import type { AccountId } from "../../src/domain/Account.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import { HostId } from "../../src/domain/Host.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { HistoryRepository, rememberedMax } from "../../src/storage/HistoryRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { freshAccount, path } from "../support/store.ts"

const Repositories = Layer.mergeAll(BuildRepository.layer, AccountRepository.layer, HistoryRepository.layer).pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())
let builds = 0
const newIdentity = () => BuildId.make((++builds).toString(16).padStart(64, "0"))

/** A build of that name, with an attempt that ended so. */
const attempted = Effect.fnUntraced(function* (
  account: AccountId,
  name: string,
  ended: {
    readonly identity?: BuildId
    readonly outcome?: Outcome
    readonly usage?: Partial<Usage>
    readonly memoryBytes?: number
  } = {}
) {
  const records = yield* BuildRepository
  const id = yield* uuid
  const attempt = AttemptId.make(yield* uuid)
  const identity = ended.identity ?? newIdentity()
  yield* records.create({ id, identity, derivation: path("a", `${name}.drv`), name, system: "x86_64-linux", account })
  yield* records.beginAttempt(id, {
    id: attempt,
    host: HostId.make("local"),
    sandbox: "kvm",
    epoch: 1,
    versions: {},
    cores: 2,
    memoryBytes: ended.memoryBytes ?? 2 ** 30
  })
  yield* records.endAttempt(attempt, {
    outcome: ended.outcome ?? "succeeded",
    detail: "",
    usage: { ...noUsage, ...ended.usage },
    logBytes: 0
  })
  return { id, identity }
})

const find = (account: AccountId, name: string, identity = newIdentity()) =>
  Effect.flatMap(HistoryRepository, (history) => history.find({ account, identity, name }))

layer(Repositories)("a history", (it) => {
  it.effect("tells what attempts were given, and what they used", () =>
    Effect.gen(function* () {
      const { id: account } = yield* freshAccount
      const { identity } = yield* attempted(account, "hello-2.12", {
        usage: {
          cpuUserMicroseconds: 5,
          cpuSystemMicroseconds: 2,
          memoryPeakBytes: 2 ** 33,
          memoryHeldBytes: 2 ** 32,
          runMilliseconds: 9
        }
      })

      const measured = {
        outcome: "succeeded" as const,
        cores: 2,
        memoryBytes: 2 ** 30,
        memoryPeakBytes: 2 ** 33,
        memoryHeldBytes: 2 ** 32,
        cpuMicroseconds: 7,
        runMilliseconds: 9
      }
      const found = yield* find(account, "hello-2.12", identity)
      for (const list of [found.identity, found.version, found.name]) {
        assert.deepStrictEqual(list, [measured])
      }
    })
  )

  it.effect("knows the same build, the same version and the same package, the newest first", () =>
    Effect.gen(function* () {
      const { id: account } = yield* freshAccount
      yield* attempted(account, "hello-2.11", { memoryBytes: 1 })
      yield* attempted(account, "hello-2.12", { memoryBytes: 2 })
      const { identity } = yield* attempted(account, "hello-2.12", { memoryBytes: 3 })
      yield* attempted(account, "hello-wrapped-1", { memoryBytes: 4 })

      const { identity: same, name, version } = yield* find(account, "hello-2.12", identity)
      const given = (list: typeof name) => list.map(({ memoryBytes }) => memoryBytes)
      assert.deepStrictEqual([given(same), given(version), given(name)], [[3], [3, 2], [3, 2, 1]])
    })
  )

  it.effect("of another account is told of the same build alone", () =>
    Effect.gen(function* () {
      const [{ id: one }, { id: other }] = [yield* freshAccount, yield* freshAccount]
      const { identity } = yield* attempted(one, "secret-1")

      const found = yield* find(other, "secret-1", identity)
      assert.deepStrictEqual([found.identity.length, found.version.length, found.name.length], [1, 0, 0])
    })
  )

  it.effect("is that of everybody who waited for a build", () =>
    Effect.gen(function* () {
      const [{ id: one }, { id: other }] = [yield* freshAccount, yield* freshAccount]
      const records = yield* BuildRepository
      const id = yield* uuid
      const attempt = AttemptId.make(yield* uuid)
      yield* records.create({
        id,
        identity: newIdentity(),
        derivation: path("a", "shared-1.drv"),
        name: "shared-1",
        system: "x86_64-linux",
        account: one
      })
      yield* records.join(id, other)
      yield* records.beginAttempt(id, {
        id: attempt,
        host: HostId.make("local"),
        sandbox: "kvm",
        epoch: 1,
        versions: {},
        cores: 1,
        memoryBytes: 1
      })
      yield* records.endAttempt(attempt, { outcome: "out-of-memory", detail: "", usage: noUsage, logBytes: 0 })

      assert.lengthOf((yield* find(one, "shared-1")).version, 1)
      assert.lengthOf((yield* find(other, "shared-2")).name, 1)
    })
  )

  it.effect("has nothing of what was lost or cancelled", () =>
    Effect.gen(function* () {
      const { id: account } = yield* freshAccount
      for (const outcome of ["lost", "cancelled", "timed-out", "silent"] as const) {
        yield* attempted(account, "gone-1", { outcome })
      }
      assert.deepStrictEqual((yield* find(account, "gone-1")).name, [])
    })
  )

  it.effect("has an end", () =>
    Effect.gen(function* () {
      const { id: account } = yield* freshAccount
      const sql = yield* SqlClient.SqlClient
      for (let count = 0; count < rememberedMax + 3; count++)
        yield* attempted(account, "often-1", { memoryBytes: 1 + count })
      yield* attempted(account, "seldom-1")

      const kept = yield* sql<{ readonly package: string; readonly count: number; readonly least: number }>`
        select package, count(*)::integer as count, min(memory_bytes)::integer as least
        from attempt_history join attempt on attempt.id = attempt where account = ${account}::uuid group by package
        order by package`
      assert.deepStrictEqual(
        kept.map((row) => ({ ...row })),
        [
          { package: "often", count: rememberedMax, least: 4 },
          { package: "seldom", count: 1, least: 2 ** 30 }
        ]
      )
    })
  )

  it.effect("divides names as Nix does", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      // By `builtins.parseDrvName` of Nix 2.8.
      const parsed = [
        ["nix-0.12pre12876", "nix", "0.12pre12876"],
        ["hello", "hello", ""],
        ["a-b-c", "a-b-c", ""],
        ["source", "source", ""],
        ["foo-", "foo-", ""],
        ["foo--1", "foo", "-1"],
        ["-1", "", "1"],
        ["gcc-wrapper-12.2.0-man", "gcc-wrapper", "12.2.0-man"],
        ["x-_1", "x", "_1"],
        ["x-é", "x", "é"],
        ["a-b-1-c-2", "a-b", "1-c-2"]
      ] as const
      for (const [name, expectedName, version] of parsed) {
        const [row] = yield* sql`select package_of(${name}) as name, version_of(${name}) as version`
        assert.deepStrictEqual({ ...row }, { name: expectedName, version }, name)
      }
    })
  )
})
