import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import type { ViewId } from "../../src/domain/View.ts"
import type { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import type { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { type ViewEntry, ViewRepository } from "../../src/storage/ViewRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { addNars, fieldsOf, freshAccount, info, narHash, path } from "../support/store.ts"

const Repositories = Layer.merge(ViewRepository.layer, AccountRepository.layer).pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provide(SecureRandom.layerWebCrypto)
)

const glibc = path("0", "glibc")
const bash = path("1", "bash")
const script = path("2", "script")

/** Two views that no other test has touched. */
const views = Effect.all({
  alice: Effect.map(freshAccount, ({ view }) => view),
  bob: Effect.map(freshAccount, ({ view }) => view)
})

/** As a session does: the NARs first, then the paths. */
const add = Effect.fnUntraced(function* (view: ViewId, infos: ReadonlyArray<PathInfo>, assured = false) {
  const repository = yield* ViewRepository
  yield* addNars(infos)
  yield* repository.add(
    view,
    infos.map((info) => ({ info, assured }))
  )
})

/** What an entry says, but for the time at which it came. */
const said = ({ assured, narHash, path, references }: ViewEntry) => ({ path, narHash, references, assured })
const says = (
  path: StorePath,
  references: ReadonlyArray<StorePath> = [],
  contents: number | string = 0,
  assured = false
) => ({ path, narHash: narHash(contents), references, assured })

const closure = Effect.fnUntraced(function* (view: ViewId, roots: ReadonlyArray<StorePath>) {
  return (yield* (yield* ViewRepository).closure(view, roots)).map(said)
})

layer(Repositories)("ViewRepository", (it) => {
  it.effect("takes a closure in any order, and gives it back whole", () =>
    Effect.gen(function* () {
      const { alice } = yield* views

      yield* add(alice, [info(script, [bash]), info(glibc, [glibc]), info(bash, [glibc])])

      assert.deepStrictEqual(yield* closure(alice, [script]), [
        says(glibc, [glibc]),
        says(bash, [glibc]),
        says(script, [bash])
      ])
    })
  )

  it.effect("gives back everything that is known of a path", () =>
    Effect.gen(function* () {
      const { alice } = yield* views
      const repository = yield* ViewRepository
      const known = info(bash, [], "bash", {
        deriver: path("3", "bash.drv"),
        narSize: 2 ** 40,
        ultimate: true,
        signatures: ["one:aGVsbG8=", "two:d29yZHM="],
        contentAddress: "fixed:r:sha256:x"
      })

      yield* add(alice, [known], true)

      const found = Option.getOrThrow(yield* repository.find(alice, bash))
      assert.isAbove(found.registrationTime, 0)
      assert.deepStrictEqual(fieldsOf(found), {
        ...fieldsOf(known),
        assured: true,
        registrationTime: found.registrationTime
      })
    })
  )

  it.effect("takes a path twice as once", () =>
    Effect.gen(function* () {
      const { alice } = yield* views

      yield* add(alice, [info(glibc, [glibc])])
      yield* add(alice, [info(glibc, [glibc])])

      assert.lengthOf(yield* closure(alice, [glibc]), 1)
    })
  )

  it.effect("refuses all of an addition that leaves a reference dangling, and names what is missing", () =>
    Effect.gen(function* () {
      const { alice } = yield* views

      const error = yield* Effect.flip(add(alice, [info(glibc), info(script, [bash])]))

      assert.deepInclude(error, {
        _tag: "DanglingReference",
        detail: `the reference '/nix/store/${bash}' is not valid`
      })
      assert.deepStrictEqual(yield* closure(alice, [glibc, script]), [])
    })
  )

  it.effect("shows each of two views its own contents under one path", () =>
    Effect.gen(function* () {
      const { alice, bob } = yield* views

      yield* add(alice, [info(glibc, [], 1)], true)
      yield* add(bob, [info(glibc, [glibc], 2)])

      assert.deepStrictEqual(yield* closure(alice, [glibc]), [says(glibc, [], 1, true)])
      assert.deepStrictEqual(yield* closure(bob, [glibc]), [says(glibc, [glibc], 2)])
    })
  )

  it.effect("shows a view nothing of another's, whatever it asks", () =>
    Effect.gen(function* () {
      const { alice, bob } = yield* views
      const repository = yield* ViewRepository

      yield* add(alice, [info(glibc), info(bash), info(script, [bash])])
      yield* add(bob, [info(bash), info(script)])

      assert.deepStrictEqual(yield* closure(bob, [script]), [says(script)])
      assert.deepStrictEqual(yield* closure(bob, [glibc]), [])
      assert.deepStrictEqual(yield* repository.find(bob, glibc), Option.none())
      assert.deepStrictEqual(yield* repository.findByHashPart(bob, glibc.slice(0, 32)), Option.none())
      assert.deepStrictEqual(yield* repository.valid(bob, [glibc, bash]), [bash])
      assert.deepStrictEqual((yield* repository.findMany(bob, [script, glibc, bash])).map(said), [
        says(bash),
        says(script)
      ])
      assert.deepStrictEqual(yield* repository.referrers(bob, bash), [])
      assert.deepStrictEqual(yield* repository.all(bob), [bash, script])
    })
  )

  it.effect("refuses a reference to what only another view holds", () =>
    Effect.gen(function* () {
      const { alice, bob } = yield* views
      yield* add(alice, [info(glibc)])

      const error = yield* Effect.flip(add(bob, [info(bash, [glibc])]))

      assert.strictEqual(error._tag, "DanglingReference")
      assert.deepStrictEqual(yield* closure(bob, [bash]), [])
    })
  )

  it.effect("keeps the first contents under a path, with their references", () =>
    Effect.gen(function* () {
      const { alice } = yield* views
      yield* add(alice, [info(glibc), info(bash), info(script, [bash], 1)])

      yield* add(alice, [info(script, [glibc], 2)], true)

      assert.deepStrictEqual(yield* closure(alice, [script]), [says(bash), says(script, [bash], 1)])
    })
  )

  it.effect("has no object of a NAR that is not kept, or not of that size", () =>
    Effect.gen(function* () {
      const { alice } = yield* views
      const repository = yield* ViewRepository
      yield* addNars([info(glibc, [], "kept")])

      const missing = yield* Effect.exit(repository.add(alice, [{ info: info(glibc, [], "missing"), assured: false }]))
      const larger = yield* Effect.exit(
        repository.add(alice, [{ info: info(glibc, [], "kept", { narSize: 128 }), assured: false }])
      )

      assert.strictEqual(missing._tag, "Failure")
      assert.strictEqual(larger._tag, "Failure")
      assert.deepStrictEqual(yield* repository.all(alice), [])
    })
  )

  it.effect("finds a path by its hash part, and referrers by what they refer to", () =>
    Effect.gen(function* () {
      const { alice } = yield* views
      const repository = yield* ViewRepository
      yield* add(alice, [info(glibc, [glibc]), info(bash, [glibc]), info(script, [bash])])

      const found = yield* repository.findByHashPart(alice, "1".repeat(32))

      assert.deepStrictEqual(Option.map(found, said), Option.some(says(bash, [glibc])))
      assert.deepStrictEqual(yield* repository.findByHashPart(alice, "1".repeat(31)), Option.none())
      assert.deepStrictEqual(yield* repository.referrers(alice, glibc), [glibc, bash])
    })
  )

  it.effect("adds signatures to those there are, in this view alone", () =>
    Effect.gen(function* () {
      const { alice, bob } = yield* views
      const repository = yield* ViewRepository
      yield* add(alice, [info(glibc, [], 0, { signatures: ["b:x"] })])
      yield* add(bob, [info(glibc)])

      yield* repository.addSignatures(alice, glibc, ["a:x", "b:x"])

      assert.deepStrictEqual(Option.getOrThrow(yield* repository.find(alice, glibc)).signatures, ["a:x", "b:x"])
      assert.deepStrictEqual(Option.getOrThrow(yield* repository.find(bob, glibc)).signatures, [])
    })
  )

  it.effect("takes into one view what is just being added to another", () =>
    Effect.gen(function* () {
      const { alice, bob } = yield* views
      const sql = yield* SqlClient.SqlClient
      const isWaiting = Effect.map(sql`select 1 from pg_locks where not granted`, (rows) => rows.length > 0)
      yield* addNars([info(glibc, [], 3)])
      const repository = yield* ViewRepository
      const addition = [{ info: info(glibc, [], 3), assured: false }]

      const added = yield* Deferred.make<void>()
      const first = yield* repository
        .add(alice, addition)
        .pipe(
          Effect.andThen(Deferred.succeed(added, void 0)),
          Effect.andThen(Effect.repeat(isWaiting, { until: (waiting) => waiting })),
          sql.withTransaction,
          Effect.forkChild
        )
      yield* Deferred.await(added)
      yield* repository.add(bob, addition)
      yield* Fiber.join(first)

      assert.deepStrictEqual(yield* closure(bob, [glibc]), [says(glibc, [], 3)])
    })
  )
})
