import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { AttemptId, noUsage } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import { HostId } from "../../src/domain/Host.ts"
import { defaults } from "../../src/domain/Settings.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { ReuseRepository } from "../../src/storage/ReuseRepository.ts"
import { StorageError } from "../../src/storage/StorageError.ts"
import { Tenure } from "../../src/storage/Tenure.ts"
import { WaitRepository } from "../../src/storage/WaitRepository.ts"
import { derive, unlimited } from "../support/building.ts"
import { TestDatabase } from "../support/postgres.ts"
import { freshAccount } from "../support/store.ts"

const Database = AccountRepository.layer.pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const Repositories = Layer.mergeAll(BuildRepository.layer, WaitRepository.layer, ReuseRepository.layer)

/** What a server that begins now says, it says until the next begins. */
const server = Effect.gen(function* () {
  const services = yield* Layer.build(Layer.fresh(Layer.provideMerge(Repositories, Tenure.layer)))
  return yield* Effect.gen(function* () {
    const { over } = yield* Tenure
    return { builds: yield* BuildRepository, waits: yield* WaitRepository, reuses: yield* ReuseRepository, over }
  }).pipe(Effect.provide(services))
})
type Server = Effect.Success<typeof server>

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())

/** A build that a server has begun, waited for and running. */
const begun = Effect.fnUntraced(function* ({ builds, waits }: Server) {
  const account = yield* freshAccount
  const [id, attempt, wait] = [yield* uuid, AttemptId.make(yield* uuid), yield* uuid]
  const { derivation, derivationPath } = derive()
  const build = {
    id,
    identity: BuildId.make("ab".repeat(32)),
    derivation: derivationPath,
    name: "test",
    system: "x86_64-linux",
    account: account.id
  }
  yield* builds.create(build)
  const kind = { host: HostId.make("local"), sandbox: "process", epoch: 1, versions: {} } as const
  const trying = { id: attempt, ...kind, cores: 1, memoryBytes: 1 }
  yield* builds.beginAttempt(id, trying)
  const waiting = { id: wait, build: id, account, derivation, limits: unlimited, settings: defaults }
  yield* waits.begin(waiting)
  return { build, trying, waiting }
})

/** All that there is of builds, attempts and waits. */
const everything = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  return yield* sql`
    select to_jsonb(build) as row from build union all select to_jsonb(attempt) from attempt
    union all select to_jsonb(build_account) from build_account union all select to_jsonb(build_wait) from build_wait
    union all select to_jsonb(build_order) from build_order order by row`
})

/** Somebody waits for the tenure's lock. */
const waitedFor = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.repeat(sql`select from pg_locks where locktype = 'advisory' and not granted`, {
    until: (waiting) => waiting.length > 0
  })
)

const isTakenOver = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some(
    (reason) =>
      reason._tag === "Fail" &&
      reason.error instanceof StorageError &&
      reason.error.cause._tag === "TakenOver" &&
      !reason.error.isRetryable
  )

const writes: ReadonlyArray<{
  readonly what: string
  readonly write: (server: Server, of: Effect.Success<ReturnType<typeof begun>>) => Effect.Effect<unknown, StorageError>
}> = [
  { what: "records a build", write: ({ builds }, { build }) => builds.create({ ...build, id: build.account }) },
  { what: "records who waits for a build", write: ({ builds }, { build }) => builds.join(build.id, build.account) },
  { what: "sets a build's state", write: ({ builds }, { build }) => builds.setState(build.id, "importing") },
  {
    what: "begins an attempt",
    write: ({ builds }, { build, trying }) => builds.beginAttempt(build.id, { ...trying, id: AttemptId.make(build.id) })
  },
  {
    what: "ends an attempt",
    write: ({ builds }, { trying }) =>
      builds.endAttempt(trying.id, { outcome: "failed", detail: "", usage: noUsage, logBytes: 0 })
  },
  {
    what: "ends a build",
    write: ({ builds }, { build }) =>
      builds.finish(build.id, { state: "failed", status: "PermanentFailure", message: "", outputs: [] })
  },
  {
    what: "records a wait",
    write: ({ waits }, { build, waiting }) => waits.begin({ ...waiting, id: build.id })
  },
  { what: "keeps a wait", write: ({ waits }, { waiting }) => waits.keep(waiting.id, 1) },
  { what: "ends a wait", write: ({ waits }, { waiting }) => waits.end(waiting.id) },
  { what: "hands everything on", write: ({ waits }) => waits.interrupted("ended") },
  {
    what: "records what answered a build",
    write: ({ reuses }, { build }) => reuses.record({ ...build, id: build.account, from: build.id })
  }
]

layer(Database)("a server that another has taken over from", (it) => {
  it.effect.each(writes)("is refused when it $what", ({ write }) =>
    Effect.gen(function* () {
      const first = yield* server
      const theirs = yield* begun(first)
      yield* server
      const before = yield* everything

      const exit = yield* Effect.exit(write(first, theirs))

      assert.isTrue(isTakenOver(exit))
      assert.deepStrictEqual(yield* everything, before)
    })
  )

  it.effect("finds out by itself", () =>
    Effect.gen(function* () {
      const { over } = yield* server
      const found = yield* Effect.forkChild(Effect.exit(over), { startImmediately: true })
      yield* server

      yield* TestClock.adjust("2 seconds").pipe(Effect.repeat({ until: () => found.pollUnsafe() !== undefined }))
      const exit = yield* Fiber.join(found)

      assert.isTrue(isTakenOver(exit))
    })
  )

  it.effect("has what it had begun to write by then written before the other begins", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const first = yield* server
      yield* first.waits.interrupted("killed")
      const { trying } = yield* begun(first)
      const ended = yield* Deferred.make<void>()
      const commit = yield* Deferred.make<void>()
      const ending = yield* first.builds
        .endAttempt(trying.id, { outcome: "failed", detail: "", usage: noUsage, logBytes: 0 })
        .pipe(
          Effect.tap(Effect.andThen(Deferred.succeed(ended, undefined), Deferred.await(commit))),
          sql.withTransaction,
          Effect.forkChild
        )
      yield* Deferred.await(ended)
      const beginning = yield* Effect.forkChild(server, { startImmediately: true })
      yield* waitedFor

      assert.isUndefined(beginning.pollUnsafe())
      yield* Deferred.succeed(commit, undefined)
      assert.strictEqual(yield* Fiber.join(ending), "written")
      const { waits } = yield* Fiber.join(beginning)
      const { attempts } = yield* waits.interrupted("killed")
      assert.strictEqual(attempts, 0)
    })
  )

  it.effect("is refused also when the other began while it waited to write", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const first = yield* server
      const { build } = yield* begun(first)
      const taken = yield* Deferred.make<void>()
      const commit = yield* Deferred.make<void>()
      const beginning = yield* sql`select begin_tenure()`.pipe(
        Effect.andThen(Deferred.succeed(taken, undefined)),
        Effect.andThen(Deferred.await(commit)),
        sql.withTransaction,
        Effect.forkChild
      )
      yield* Deferred.await(taken)
      const writing = yield* Effect.forkChild(Effect.exit(first.builds.setState(build.id, "importing")))
      yield* waitedFor

      yield* Deferred.succeed(commit, undefined)
      yield* Fiber.join(beginning)
      assert.isTrue(isTakenOver(yield* Fiber.join(writing)))
    })
  )
})
