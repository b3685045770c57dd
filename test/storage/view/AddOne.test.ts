import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { PathInfo } from "../../../src/protocol/nix/PathInfo.ts"
import type { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { AccountRepository } from "../../../src/storage/AccountRepository.ts"
import { ViewRepository } from "../../../src/storage/ViewRepository.ts"
import { TestDatabase } from "../../support/postgres.ts"
import { freshAccount, info as infoOf, path } from "../../support/store.ts"

const Repositories = Layer.merge(ViewRepository.layer, AccountRepository.layer).pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provide(SecureRandom.layerWebCrypto)
)

const [glibc, bash, script] = [path("0", "glibc"), path("1", "bash"), path("2", "script")]

let contents = 0
/** Of contents that nothing else has. */
const info = (path: StorePath, references: ReadonlyArray<StorePath> = []) =>
  infoOf(path, references, `contents ${++contents}`)

const nar = { listing: Buffer.from("listing"), contents: Buffer.alloc(120, "contents") }

const freshView = Effect.map(freshAccount, ({ view }) => view)

/** What is kept of these paths' NARs. */
const kept = Effect.fnUntraced(function* (...infos: ReadonlyArray<PathInfo>) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly hash: string }>`
    select encode(hash, 'hex') as hash from nar
    where contents = ${nar.contents} and listing = ${nar.listing}`
  const hashes = new Set(rows.map(({ hash }) => hash))
  return infos.map(({ narHash }) => hashes.has(narHash))
})

layer(Repositories, { excludeTestServices: true })("a path that is added with its NAR", (it) => {
  it.effect("is in the view with what it refers to, and its NAR is kept", () =>
    Effect.gen(function* () {
      const view = yield* freshView
      const repository = yield* ViewRepository
      const [library, shell] = [info(glibc, [glibc]), info(bash, [glibc])]

      for (const each of [library, shell]) {
        assert.isTrue(yield* repository.addWithNar(view, { info: each, assured: true }, nar))
      }

      const found = yield* repository.closure(view, [bash])
      assert.deepStrictEqual(
        found.map(({ assured, narHash, path, references }) => ({ assured, narHash, path, references })),
        [library, shell].map(({ narHash, path, references }) => ({ assured: true, narHash, path, references }))
      )
      assert.deepStrictEqual(yield* kept(library, shell), [true, true])
      assert.strictEqual(yield* repository.storedBytes(view), 240)
    })
  )

  it.effect("leaves nothing behind where it refers to what the view does not hold, and the first such is named", () =>
    Effect.gen(function* () {
      const [alice, bob] = [yield* freshView, yield* freshView]
      const repository = yield* ViewRepository
      const [library, program] = [info(glibc), info(script, [script, glibc, bash])]
      yield* repository.addWithNar(alice, { info: library, assured: false }, nar)

      const error = yield* Effect.flip(repository.addWithNar(bob, { info: program, assured: false }, nar))

      assert.deepInclude(error, {
        _tag: "DanglingReference",
        detail: `the reference '/nix/store/${glibc}' is not valid`
      })
      assert.deepStrictEqual(yield* repository.all(bob), [])
      assert.deepStrictEqual(yield* kept(library, program), [true, false])
      assert.strictEqual(yield* repository.storedBytes(bob), 0)
    })
  )

  it.effect("stays the first under its path: of another, the NAR is not kept either", () =>
    Effect.gen(function* () {
      const view = yield* freshView
      const repository = yield* ViewRepository
      const [first, second] = [info(glibc), info(glibc, [glibc])]
      yield* repository.addWithNar(view, { info: first, assured: false }, nar)
      const before = yield* repository.storedBytes(view)

      assert.isTrue(yield* repository.addWithNar(view, { info: second, assured: true }, nar))

      const { assured, narHash, references } = Option.getOrThrow(yield* repository.find(view, glibc))
      assert.deepStrictEqual(
        { assured, narHash, references },
        { assured: false, narHash: first.narHash, references: [] }
      )
      assert.deepStrictEqual(yield* kept(first, second), [true, false])
      assert.strictEqual(yield* repository.storedBytes(view), before)
    })
  )

  it.effect("is known as not added while the same is just being added to another view", () =>
    Effect.gen(function* () {
      const [alice, bob] = [yield* freshView, yield* freshView]
      const repository = yield* ViewRepository
      const sql = yield* SqlClient.SqlClient
      const addition = { info: info(glibc), assured: false }
      const isWaiting = Effect.map(
        sql<{ readonly count: number }>`select count(*)::int as count from pg_locks where not granted`,
        ([row]) => (row?.count ?? 0) > 0
      )
      const added = yield* Deferred.make<void>()
      const first = yield* repository
        .addWithNar(alice, addition, nar)
        .pipe(
          Effect.andThen(Deferred.succeed(added, undefined)),
          Effect.andThen(Effect.repeat(isWaiting, { until: (waiting) => waiting })),
          sql.withTransaction,
          Effect.forkChild
        )
      yield* Deferred.await(added)

      assert.isFalse(yield* repository.addWithNar(bob, addition, nar))
      yield* Fiber.join(first)

      // The NAR is there, whoever brought it, and the way for many takes it.
      yield* repository.add(bob, [addition])
      assert.deepStrictEqual(yield* repository.all(bob), [glibc])
    })
  )
})
