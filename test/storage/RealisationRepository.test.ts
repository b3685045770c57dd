import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Realisation } from "../../src/protocol/nix/Realisation.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { RealisationRepository } from "../../src/storage/RealisationRepository.ts"
import { ViewRepository } from "../../src/storage/ViewRepository.ts"
import { TestDatabase } from "../support/postgres.ts"
import { addNars, freshAccount, info, narHash, path } from "../support/store.ts"

const Repositories = Layer.mergeAll(RealisationRepository.layer, ViewRepository.layer, AccountRepository.layer).pipe(
  Layer.provideMerge(TestDatabase),
  Layer.provide(SecureRandom.layerWebCrypto)
)

const hello = path("0", "hello")
const other = path("1", "hello")

/** A view that holds two paths. */
const view = Effect.gen(function* () {
  const { view } = yield* freshAccount
  const infos = [info(hello), info(other)]
  yield* addNars(infos)
  yield* (yield* ViewRepository).add(
    view,
    infos.map((info) => ({ info, assured: false }))
  )
  return view
})

const of = (outPath: typeof hello): Realisation => ({
  id: { hash: narHash("hello.drv"), output: "out" },
  outPath,
  signatures: ["key:c2ln"],
  dependentRealisations: [[{ hash: narHash("bash.drv"), output: "dev" }, other]]
})

layer(Repositories)("RealisationRepository", (it) => {
  it.effect("gives back a realisation whole, and to its own view alone", () =>
    Effect.gen(function* () {
      const realisations = yield* RealisationRepository
      const mine = yield* view
      const yours = yield* view

      yield* realisations.register(mine, of(hello))

      assert.deepStrictEqual(yield* realisations.find(mine, of(hello).id), Option.some(of(hello)))
      assert.deepStrictEqual(yield* realisations.find(yours, of(hello).id), Option.none())
    })
  )

  it.effect("keeps the first realisation of an output", () =>
    Effect.gen(function* () {
      const realisations = yield* RealisationRepository
      const mine = yield* view

      yield* realisations.register(mine, of(hello))
      yield* realisations.register(mine, of(other))

      assert.deepStrictEqual(yield* realisations.find(mine, of(hello).id), Option.some(of(hello)))
    })
  )

  it.effect("knows an output by its derivation's path too", () =>
    Effect.gen(function* () {
      const realisations = yield* RealisationRepository
      const mine = yield* view
      const derivation = path("3", "hello.drv")
      const keyed = { derivation, output: "out", outPath: hello, signatures: [] }

      yield* realisations.registerKeyed(mine, keyed)

      assert.deepStrictEqual(yield* realisations.findKeyed(mine, derivation, "out"), Option.some(keyed))
      assert.deepStrictEqual(yield* realisations.findKeyed(mine, derivation, "dev"), Option.none())
    })
  )

  it.effect("refuses a path that the view does not hold", () =>
    Effect.gen(function* () {
      const realisations = yield* RealisationRepository
      const mine = yield* view

      const error = yield* Effect.flip(realisations.register(mine, of(path("4", "absent"))))

      assert.deepInclude(error, { _tag: "NotValid", path: path("4", "absent") })
    })
  )
})
