import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Builds, type Request } from "../../../src/actors/build/Builds.ts"
import * as QuotaBuilds from "../../../src/actors/quota/QuotaBuilds.ts"
import { Quotas } from "../../../src/actors/quota/Quotas.ts"
import { Account, AccountId, AccountName } from "../../../src/domain/Account.ts"
import { QuotaReached, standard } from "../../../src/domain/Quota.ts"
import { defaults } from "../../../src/domain/Settings.ts"
import { ViewId } from "../../../src/domain/View.ts"
import { FileError, StorageError } from "../../../src/storage/StorageError.ts"
import { built, newPath } from "../../support/sessions.ts"

const id = "00000000-0000-7000-8000-000000000001"
const account = new Account({ id: AccountId.make(id), name: AccountName.make("one"), view: ViewId.make(id) })
const request: Request = {
  account,
  derivationPath: newPath("hello.drv"),
  derivation: {
    outputs: [],
    inputSources: [],
    system: "x86_64-linux",
    builder: new Uint8Array(0),
    arguments: [],
    environment: []
  },
  limits: { timeoutSeconds: null, silenceSecondsMax: null, logBytesMax: 9 },
  settings: defaults,
  check: false
}

const reached = Effect.fail(new QuotaReached({ quota: "builds", account: "one", max: 1, found: 2 }))
const trouble = Effect.fail(
  new StorageError({ operation: "test", cause: new FileError({ path: "", code: "EAGAIN", detail: "in trouble" }) })
)

/** Builds behind quotas that answer as they are told; gives the requests that came through. */
const behind = Effect.fnUntraced(function* (take: Effect.Effect<void, QuotaReached | StorageError>) {
  const came: Array<Request> = []
  const quotas = Layer.mock(Quotas)({
    take: () => take,
    reserve: () => Effect.void,
    of: () => Effect.succeed({ ...standard(null), log: 5 })
  })
  const builds = Layer.mock(Builds)({
    submit: (request) => {
      came.push(request)
      return Effect.succeed({ build: null, heard: Stream.empty, answer: Effect.succeed(built) })
    }
  })
  const services = yield* Layer.build(QuotaBuilds.layer.pipe(Layer.provide(Layer.merge(quotas, builds))))
  const submit = (request: Request) =>
    Effect.flatMap(Builds, (builds) => builds.submit(request)).pipe(Effect.provide(services), Effect.asVoid)
  return { came, submit }
})

describe("builds within a quota", () => {
  it.effect("have no longer a log than the account's have", () =>
    Effect.gen(function* () {
      const { came, submit } = yield* behind(Effect.void)
      yield* submit(request)

      assert.deepStrictEqual(
        came.map(({ limits }) => limits.logBytesMax),
        [5]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("are refused at once where there are as many as there may be", () =>
    Effect.gen(function* () {
      const { came, submit } = yield* behind(reached)
      const { detail, status } = yield* Effect.flip(submit(request))

      assert.strictEqual(status, "TransientFailure")
      assert.match(detail, /^cannot build '\/nix\/store\/.*hello\.drv': the account 'one' may have at most 1 builds/)
      assert.deepStrictEqual(came, [])
    }).pipe(Effect.scoped)
  )

  it.effect("wait while the store cannot answer for the moment", () =>
    Effect.gen(function* () {
      let asked = 0
      const { came, submit } = yield* behind(Effect.suspend(() => (++asked < 3 ? trouble : Effect.void)))
      const waiting = yield* Effect.forkChild(submit(request))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(waiting)

      assert.strictEqual(came.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("go on after a restart, however many the account may ask for by then", () =>
    Effect.gen(function* () {
      const { came, submit } = yield* behind(reached)
      yield* submit({ ...request, resumed: { wait: id, build: id, keptUntil: null } })

      assert.strictEqual(came.length, 1)
    }).pipe(Effect.scoped)
  )
})
