import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { type AttemptId, AttemptId as Id, noUsage } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import { HostId } from "../../src/domain/Host.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRecords } from "../../src/storage/BuildRecords.ts"
import { type AttemptEnd, type BuildEnd, BuildRepository } from "../../src/storage/BuildRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { addNars, fieldsOf, freshAccount, info, narHash, path } from "../support/store.ts"

const Repositories = Layer.mergeAll(BuildRepository.layer, BuildRecords.layer, AccountRepository.layer).pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())
const hello = path("a", "hello.drv")

/** A new build, and the account that waits for it. */
const newBuild = Effect.gen(function* () {
  const builds = yield* BuildRepository
  const account = yield* freshAccount
  const id = yield* uuid
  const identity = BuildId.make("ab".repeat(32))
  yield* builds.create({ id, identity, derivation: hello, name: "hello", system: "x86_64-linux", account: account.id })
  return { id, account }
})

const newAttempt = Effect.fnUntraced(function* (build: string, named?: AttemptId) {
  const builds = yield* BuildRepository
  const id = named ?? Id.make(yield* uuid)
  const written = yield* builds.beginAttempt(build, {
    id,
    host: HostId.make("local"),
    sandbox: "process",
    epoch: 1,
    versions: { executor: "1" },
    cores: 2,
    memoryBytes: 11 * 2 ** 30
  })
  return { id, written }
})

const end = (outcome: AttemptEnd["outcome"]): AttemptEnd => ({
  outcome,
  detail: "",
  usage: { ...noUsage, cpuUserMicroseconds: 1, memoryPeakBytes: 2 ** 33 },
  logBytes: 7
})
const success: BuildEnd = { state: "succeeded", status: "Built", message: "", outputs: [] }
const failure: BuildEnd = { state: "failed", status: "PermanentFailure", message: "exit 1", outputs: [] }

const record = Effect.fnUntraced(function* (build: string) {
  const listed = yield* (yield* BuildRecords).list({ limit: 1000 })
  return listed.find(({ id }) => id === build)!
})
const outcomes = (build: string) => Effect.map(record(build), ({ attempts }) => attempts.map(({ outcome }) => outcome))

layer(Repositories)("BuildRepository", (it) => {
  it.effect("tells of a build from its queue to its end", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const { account, id } = yield* newBuild
      const other = yield* freshAccount
      assert.deepStrictEqual(fieldsOf(yield* record(id)), {
        id,
        derivation: `/nix/store/${hello}`,
        system: "x86_64-linux",
        state: "queued",
        accounts: [account.name],
        reusedFrom: null,
        attempts: []
      })

      const attempt = yield* newAttempt(id)
      yield* builds.join(id, other.id)
      yield* builds.join(id, other.id)
      const running = yield* record(id)
      const out = info(path("b", "hello"), [], "hello")
      yield* addNars([out])
      yield* builds.setState(id, "importing")
      assert.strictEqual(yield* builds.endAttempt(attempt.id, end("succeeded")), "written")
      const outputs = [{ name: "out", path: out.path, narHash: narHash("hello"), references: [], contentAddress: "" }]
      assert.strictEqual(yield* builds.finish(id, { ...success, outputs }), "written")

      assert.deepInclude(running, { state: "building", accounts: [account.name, other.name] })
      assert.deepInclude(running.attempts[0], {
        sandbox: "process",
        endedAt: null,
        outcome: null,
        cores: 2,
        memoryBytes: 11 * 2 ** 30
      })
      const ended = yield* record(id)
      assert.strictEqual(ended.state, "succeeded")
      assert.strictEqual(ended.attempts[0]?.outcome, "succeeded")
      const { endedAt, startedAt } = ended.attempts[0]!
      assert.strictEqual(new Date(startedAt).toISOString(), startedAt)
      assert.strictEqual(new Date(endedAt!).toISOString(), endedAt)
    })
  )

  it.effect("lists the newest first, and no more than asked for", () =>
    Effect.gen(function* () {
      const first = yield* newBuild
      const second = yield* newBuild

      const listed = yield* (yield* BuildRecords).list({ limit: 2 })

      assert.deepStrictEqual(
        listed.map(({ id }) => id),
        [second.id, first.id]
      )
    })
  )

  it.effect("takes an attempt that is begun twice for one, as the first word of it may have been lost", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const { id } = yield* newBuild
      const attempt = yield* newAttempt(id)

      assert.strictEqual((yield* newAttempt(id, attempt.id)).written, "written")

      assert.deepStrictEqual(
        (yield* record(id)).attempts.map(({ outcome }) => outcome),
        [null]
      )
      assert.strictEqual(yield* builds.endAttempt(attempt.id, end("succeeded")), "written")
    })
  )

  it.effect("does not believe an attempt that another has followed", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const { id } = yield* newBuild
      const late = yield* newAttempt(id)
      const current = yield* newAttempt(id)

      assert.strictEqual(yield* builds.endAttempt(late.id, end("succeeded")), "superseded")

      assert.deepStrictEqual(yield* outcomes(id), ["lost", null])
      assert.strictEqual(yield* builds.endAttempt(current.id, end("failed")), "written")
      assert.deepStrictEqual(yield* outcomes(id), ["lost", "failed"])
    })
  )

  it.effect("takes no end of a build from an attempt whose own end a killed database has lost", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const { id } = yield* newBuild
      const attempt = yield* newAttempt(id)

      assert.strictEqual(yield* builds.finish(id, success, attempt.id), "superseded")
      assert.deepStrictEqual(yield* outcomes(id), [null])
      yield* builds.endAttempt(attempt.id, end("succeeded"))
      assert.strictEqual(yield* builds.finish(id, success, attempt.id), "written")
      assert.deepStrictEqual(yield* outcomes(id), ["succeeded"])
    })
  )

  it.effect("takes the first end of an attempt and of a build, and begins nothing after it", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const { id } = yield* newBuild
      const attempt = yield* newAttempt(id)
      yield* builds.endAttempt(attempt.id, end("failed"))
      yield* builds.finish(id, failure)

      assert.strictEqual(yield* builds.endAttempt(attempt.id, end("succeeded")), "superseded")
      assert.strictEqual(yield* builds.finish(id, success), "superseded")
      assert.strictEqual(yield* builds.setState(id, "importing"), "superseded")
      assert.strictEqual((yield* newAttempt(id)).written, "superseded")

      assert.strictEqual((yield* record(id)).state, "failed")
      assert.deepStrictEqual(yield* outcomes(id), ["failed"])
    })
  )

  const insertAttempt = Effect.fnUntraced(function* (build: string, attempt: AttemptId) {
    const sql = yield* SqlClient.SqlClient
    yield* sql`
      insert into attempt (id, build, ordinal, sandbox, epoch, versions, cores, memory_bytes)
      values (${attempt}::uuid, ${build}::uuid, 1, 'process', 1, '{}', 1, 1)`
  })

  it.effect.each([
    { during: "another begins", written: "written", outcomes: ["lost", null] },
    { during: "the same is still on its way", written: "written", outcomes: [null] },
    { during: "the build ends", written: "superseded", outcomes: [] }
  ] as const)("begins an attempt while $during", ({ during, outcomes: expected, written }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { id } = yield* newBuild
      const attempt = Id.make(yield* uuid)
      const services = yield* Effect.context<BuildRepository | SecureRandom.SecureRandom>()
      const beginning = yield* Effect.gen(function* () {
        yield* sql`select from build where id = ${id} for update`
        if (during === "the build ends") {
          yield* sql`update build set state = 'cancelled', ended_at = now() where id = ${id}`
        } else {
          yield* insertAttempt(id, during === "another begins" ? Id.make(yield* uuid) : attempt)
        }
        // In a connection of its own, which waits for what this one holds.
        const beginning = Effect.runForkWith(services)(newAttempt(id, attempt))
        while ((yield* sql`select from pg_locks where not granted`).length === 0);
        return beginning
      }).pipe(sql.withTransaction)

      assert.strictEqual((yield* Fiber.join(beginning)).written, written)
      assert.deepStrictEqual(yield* outcomes(id), [...expected])
    })
  )

  it.effect("knows nothing of an attempt that never began", () =>
    Effect.gen(function* () {
      const builds = yield* BuildRepository
      const never: AttemptId = Id.make(yield* uuid)

      assert.strictEqual(yield* builds.endAttempt(never, end("succeeded")), "superseded")
    })
  )
})
