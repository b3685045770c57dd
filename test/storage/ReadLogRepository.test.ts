import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { AttemptId } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import { HostId } from "../../src/domain/Host.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { pathsMax, ReadLogRepository } from "../../src/storage/ReadLogRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { freshAccount, path } from "../support/store.ts"

const Repositories = Layer.mergeAll(ReadLogRepository.layer, BuildRepository.layer, AccountRepository.layer).pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const uuid = Effect.flatMap(SecureRandom.SecureRandom, ({ uuidV7 }) => uuidV7())

/** A build with so many attempts. */
const buildOf = Effect.fnUntraced(function* (count: number) {
  const builds = yield* BuildRepository
  const account = yield* freshAccount
  const id = yield* uuid
  const derivation = path("a", "hello.drv")
  const identity = BuildId.make("ab".repeat(32))
  yield* builds.create({ id, identity, derivation, name: "hello", system: "x86_64-linux", account: account.id })
  const attempts: Array<AttemptId> = []
  for (let ordinal = 0; ordinal < count; ordinal++) {
    const attempt = AttemptId.make(yield* uuid)
    yield* builds.beginAttempt(id, {
      id: attempt,
      host: HostId.make("local"),
      sandbox: "emulated",
      epoch: 1,
      versions: {},
      cores: 1,
      memoryBytes: 2 ** 30
    })
    attempts.push(attempt)
  }
  return { id, attempts }
})

const bash = { path: path("b", "bash"), bytes: 2 ** 33 }
const glibc = { path: path("c", "glibc"), bytes: 2 ** 34 }

layer(Repositories)("ReadLogRepository", (it) => {
  it.effect("tells what each attempt read, the most read first", () =>
    Effect.gen(function* () {
      const logs = yield* ReadLogRepository
      const { attempts, id } = yield* buildOf(3)

      yield* logs.record(attempts[2]!, 5, [bash, glibc])
      yield* logs.record(attempts[0]!, 5, [])

      assert.deepStrictEqual(yield* logs.list(id), [
        { attempt: 1, inputs: 5, read: 0, paths: [] },
        { attempt: 3, inputs: 5, read: 2, paths: [glibc, bash] }
      ])
    })
  )

  it.effect("keeps what it was told first", () =>
    Effect.gen(function* () {
      const logs = yield* ReadLogRepository
      const { attempts, id } = yield* buildOf(1)

      yield* logs.record(attempts[0]!, 2, [bash])
      yield* logs.record(attempts[0]!, 2, [glibc])

      assert.deepStrictEqual(yield* logs.list(id), [{ attempt: 1, inputs: 2, read: 1, paths: [bash] }])
    })
  )

  it.effect("counts more than it names", () =>
    Effect.gen(function* () {
      const logs = yield* ReadLogRepository
      const { attempts, id } = yield* buildOf(1)
      const many = Array.from({ length: pathsMax + 1 }, (_, index) => ({ path: path("d", `n${index}`), bytes: index }))

      yield* logs.record(attempts[0]!, many.length, many)

      const [log] = yield* logs.list(id)
      assert.strictEqual(log?.read, pathsMax + 1)
      assert.lengthOf(log?.paths ?? [], pathsMax)
      assert.deepStrictEqual(log?.paths[0], many.at(-1))
    })
  )
})
