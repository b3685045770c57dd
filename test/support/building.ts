/** What the service of builds is tested with: a real record, builders in the test's hands, and accounts that ask. */
import { Effect, Layer, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { BuildFailed, type BuiltOutput, type Kind } from "../../src/actors/builder/BuilderPool.ts"
import { Builds, type Request, type Waiting } from "../../src/actors/build/Builds.ts"
import { Scheduler } from "../../src/actors/scheduler/Scheduler.ts"
import type { Account } from "../../src/domain/Account.ts"
import { defaults } from "../../src/domain/Settings.ts"
import { Sizing } from "../../src/domain/Sizing.ts"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import type { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { AccountRepository } from "../../src/storage/AccountRepository.ts"
import { BuildRecords } from "../../src/storage/BuildRecords.ts"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { DistrustRepository } from "../../src/storage/DistrustRepository.ts"
import { HistoryRepository } from "../../src/storage/HistoryRepository.ts"
import { LogStore } from "../../src/storage/LogStore.ts"
import { RealisationRepository } from "../../src/storage/RealisationRepository.ts"
import { ReuseRepository } from "../../src/storage/ReuseRepository.ts"
import { ViewRepository } from "../../src/storage/ViewRepository.ts"
import { WaitRepository } from "../../src/storage/WaitRepository.ts"
import * as builders from "./builders.ts"
import { temporaryDirectory, TestDatabase } from "./postgres.ts"
import { freshAccount, info } from "./store.ts"

export const Storage = Layer.mergeAll(
  AccountRepository.layer,
  BuildRecords.layer,
  BuildRepository.layer,
  DistrustRepository.layer,
  HistoryRepository.layer,
  RealisationRepository.layer,
  ReuseRepository.layer,
  ViewRepository.layer,
  WaitRepository.layer,
  Layer.unwrap(Effect.map(temporaryDirectory, LogStore.layer))
).pipe(Layer.provideMerge(TestDatabase), Layer.provideMerge(SecureRandom.layerWebCrypto))

export const bytes = (text: string) => new TextEncoder().encode(text)

let made = 0

/** A derivation that no other test has built. */
export const derive = (
  more: Partial<BasicDerivation> = {}
): { readonly derivationPath: StorePath; readonly derivation: BasicDerivation } => {
  const digit = String(made++ % 10).repeat(32)
  const name = `test-${made}`
  return {
    derivationPath: StorePath.make(`${digit}-${name}.drv`),
    derivation: {
      outputs: [["out", { _tag: "InputAddressed", path: StorePath.make(`${digit}-${name}`) }]],
      inputSources: [],
      system: "x86_64-linux",
      builder: bytes("/bin/sh"),
      arguments: [],
      environment: [],
      ...more
    }
  }
}

export const unlimited = { timeoutSeconds: null, silenceSecondsMax: null, logBytesMax: null }

export type Asked = Partial<Request> & Pick<Request, "derivation" | "derivationPath">

/** An account, builders in the test's hands, and the service between them. */
export const world = Effect.fnUntraced(function* (kind?: Kind) {
  const pool = yield* builders.makeAs(kind)
  const account = yield* freshAccount
  const services = yield* Layer.build(
    Builds.layer.pipe(
      // More than the host has, which then is all that a build gets.
      Layer.provide(Layer.succeed(Sizing, { cores: 1, memoryBytes: 2 ** 40 })),
      Layer.provide(Scheduler.layer([builders.host(4)])),
      Layer.provide(pool.layer)
    )
  )
  const submitAs = (account: Account, request: Asked) =>
    Effect.flatMap(Builds, (builds) =>
      builds.submit({ account, limits: unlimited, settings: defaults, check: false, ...request })
    ).pipe(Effect.provide(services))
  const submit = (request: Asked) => submitAs(account, request)
  return { pool, account, submit, submitAs }
})

/** A service's line in angles. */
export const heard = (waiting: Waiting) =>
  waiting.heard.pipe(
    Stream.map((heard) => (heard._tag === "Log" ? new TextDecoder().decode(heard.bytes) : `<${heard.line}>`)),
    Stream.runCollect,
    Effect.map((pieces) => pieces.join(""))
  )

/** Asks, and waits for the end. */
export const answerTo = Effect.fnUntraced(function* (
  submitted: ReturnType<Effect.Success<ReturnType<typeof world>>["submit"]>
) {
  const waiting = yield* submitted
  const log = yield* heard(waiting)
  const answer = yield* waiting.answer
  return { ...answer, log }
}, Effect.scoped)

export const failing = Effect.fail(
  new BuildFailed({ failure: { status: "PermanentFailure", outcome: "failed", message: "it failed" } })
)
export const succeeding = Effect.succeed([])

/** What a builder made, by name. The NARs are to be there. */
export const output = (name: string, made: PathInfo): BuiltOutput => ({
  name,
  info: made,
  assured: made.contentAddress !== ""
})

/** What is made where the derivation says. */
export const outputOf = ({ derivation }: Asked, contents: string, references: ReadonlyArray<StorePath> = []) => {
  const [[name, form] = ["", null]] = derivation.outputs
  if (form === null || !("path" in form)) throw new Error("expected an output whose path is known")
  return output(name, info(form.path, references, contents))
}
