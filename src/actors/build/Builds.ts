/**
 * Every build under way, one per build identity, shared by all who wait for it.
 *
 * A build lives as long as somebody waits: the last to leave ends it. An identity is not started again until the
 * last sandbox of it is confirmed gone, which the lock of that identity sees to: it outlives the entry, and its
 * release comes last.
 *
 * What one account built answers another only where the sandbox keeps them apart; where it does not, the account is
 * part of the key. What is impure, or asked for again on purpose, is shared with nobody.
 */
import { Clock, Context, Deferred, Effect, Equal, Hash, Layer, RcMap, type Scope, Semaphore, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Account } from "../../domain/Account.ts"
import type { Outcome } from "../../domain/Attempt.ts"
import * as BuildId from "../../domain/BuildId.ts"
import type { FailureStatus } from "../../domain/Failure.ts"
import type { Limits } from "../../domain/Limits.ts"
import * as Requirements from "../../domain/Requirements.ts"
import type { Settings } from "../../domain/Settings.ts"
import { Sizing } from "../../domain/Sizing.ts"
import type { BasicDerivation } from "../../protocol/nix/Derivation.ts"
import type { PathInfo } from "../../protocol/nix/PathInfo.ts"
import { nameOf, type StorePath } from "../../protocol/nix/StorePath.ts"
import { BuildRepository } from "../../storage/BuildRepository.ts"
import { LogStore } from "../../storage/LogStore.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import { BuilderPool, type BuiltOutput } from "../builder/BuilderPool.ts"
import { Scheduler } from "../scheduler/Scheduler.ts"
import * as Build from "./Build.ts"
import { attemptsMaxDefault } from "./BuildLifecycle.ts"
import * as Hearing from "./Hearing.ts"
import * as Patience from "./Patience.ts"
import { Refused } from "./Refused.ts"

export interface Request {
  readonly account: Account
  /** What the client calls the derivation: shown, logged, believed in nothing. */
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  readonly limits: Limits
  readonly settings: Settings
  /** True for mode `check`: build again and compare. */
  readonly check: boolean
}

/** How a build ended, in words that both protocols can say. `status` is Nix's own. */
export interface Answer {
  readonly status: "Built" | "AlreadyValid" | FailureStatus
  /** Empty on success. */
  readonly message: string
  readonly timesBuilt: number
  /** Seconds since the epoch. */
  readonly startedAt: number
  readonly endedAt: number
  readonly cpuUserMicroseconds: number | null
  readonly cpuSystemMicroseconds: number | null
  /** Every output of a successful build. */
  readonly outputs: ReadonlyArray<{ readonly name: string; readonly path: StorePath }>
}

/** What a waiter hears: the builder's own bytes, or a line of the service's own for this waiter alone. */
export type Heard =
  | { readonly _tag: "Log"; readonly bytes: Uint8Array }
  | { readonly _tag: "Service"; readonly line: string }

export interface Waiting {
  /** From the first line of the log, whenever one came to wait; ends before the answer. Reading it slowly slows nobody else. */
  readonly heard: Stream.Stream<Heard>
  /** Asked for once. On success the account's view holds the outputs before it comes. */
  readonly answer: Effect.Effect<Answer>
}

export class Builds extends Context.Service<
  Builds,
  {
    /** Waits until the scope closes: the last wait to end, ends the build. */
    readonly submit: (request: Request) => Effect.Effect<Waiting, Refused, Scope.Scope>
  }
>()("drover/actors/Builds") {
  static readonly layer = Layer.effect(
    Builds,
    Effect.gen(function* () {
      const builders = yield* BuilderPool
      const scheduler = yield* Scheduler
      const sizing = yield* Sizing
      // A build that asks for nothing gets a small host whole, rather than a refusal.
      const roomBytes = Math.max(...builders.hosts.map((host) => host.memoryBytes - host.overheadBytes))
      const records = yield* BuildRepository
      const logs = yield* LogStore
      const views = yield* ViewRepository
      const random = yield* SecureRandom.SecureRandom

      const locks = yield* RcMap.make({ lookup: (_: string) => Semaphore.make(1) })
      const running = yield* RcMap.make({
        lookup: Effect.fnUntraced(function* (key: Key) {
          const lock = yield* RcMap.get(locks, key.words)
          yield* Effect.acquireRelease(lock.take(1), () => lock.release(1))
          const { order } = key
          yield* Effect.orDie(
            records.create({
              id: order.id,
              identity: order.identity,
              derivation: order.derivationPath,
              name: nameOf(order.derivationPath).replace(/\.drv$/, ""),
              system: order.derivation.system,
              account: order.need.account
            })
          )
          const build = yield* Build.spawn(order).pipe(
            Effect.provideService(BuilderPool, builders),
            Effect.provideService(Scheduler, scheduler),
            Effect.provideService(BuildRepository, records),
            Effect.provideService(LogStore, logs),
            Effect.provideService(SecureRandom.SecureRandom, random)
          )
          const entry: Entry = { build, left: "cancelled" }
          yield* Effect.addFinalizer(() => Effect.suspend(() => build.cancel(entry.left)))
          return entry
        })
      })

      /** The whole input closure, if the account sees all of it. */
      const closureOf = Effect.fnUntraced(function* ({ account, derivation, derivationPath }: Request) {
        const closure = yield* Effect.orDie(views.closure(account.view, derivation.inputSources))
        const seen = new Set(closure.map(({ path }) => path))
        const missing = derivation.inputSources.find((path) => !seen.has(path))
        if (missing !== undefined) {
          const detail = `cannot build '/nix/store/${derivationPath}': its input '/nix/store/${missing}' is not valid here`
          return yield* new Refused({ status: "MiscFailure", detail })
        }
        return closure
      })

      /** The outputs, if all are known beforehand and the account has them all. */
      const validOutputs = Effect.fnUntraced(function* ({ account, derivation }: Request) {
        const known = derivation.outputs.flatMap(([name, output]) =>
          "path" in output ? [{ name, path: output.path }] : []
        )
        if (known.length < derivation.outputs.length) return null
        const valid = yield* Effect.orDie(
          views.valid(
            account.view,
            known.map(({ path }) => path)
          )
        )
        return valid.length === known.length ? known : null
      })

      const orderOf = Effect.fnUntraced(function* (
        request: Request,
        closure: ReadonlyArray<PathInfo>,
        needs: Requirements.Requirements
      ) {
        const { account, derivation, derivationPath } = request
        const order: Build.Order = {
          id: yield* random.uuidV7(),
          identity: BuildId.of(nameOf(derivationPath).replace(/\.drv$/, ""), derivation, closure),
          derivationPath,
          derivation,
          closure,
          accountName: account.name,
          need: {
            account: account.id,
            system: derivation.system,
            features: needs.features,
            cores: needs.isParallel ? "all" : sizing.cores,
            // A remote builder's client keeps its graph to itself.
            rank: 0
          },
          terms: {
            memoryBytes: Math.min(sizing.memoryBytes, roomBytes),
            memoryBytesMax: roomBytes,
            ceiling: "no host of this service has more for one build",
            attemptsMax: attemptsMaxDefault
          }
        }
        return order
      })

      const keyOf = (order: Build.Order, request: Request, needs: Requirements.Requirements): Key => {
        if (needs.isImpure || request.check) return new Key(order.id, order)
        const { isIsolating } = builders.kindOf(order.derivation.system)
        return new Key(isIsolating ? order.identity : `${order.identity}/${request.account.id}`, order)
      }

      /** Gives the outputs to the account that waited for them; all of them or none. */
      const grant = ({ account }: Request, outputs: ReadonlyArray<BuiltOutput>) =>
        Effect.orDie(
          views.add(
            account.view,
            outputs.map(({ assured, info }) => ({ info, assured }))
          )
        ).pipe(Tracing.step("grant"))

      const differing = Effect.fnUntraced(function* (
        { account, derivationPath }: Request,
        outputs: ReadonlyArray<BuiltOutput>
      ) {
        const before = yield* Effect.orDie(
          views.findMany(
            account.view,
            outputs.map(({ info }) => info.path)
          )
        )
        const other = outputs.find(({ info }) =>
          before.some(({ narHash, path }) => path === info.path && narHash !== info.narHash)
        )
        if (other === undefined) return null
        return `derivation '/nix/store/${derivationPath}' may not be deterministic: output '/nix/store/${other.info.path}' differs`
      })

      const answerOf = Effect.fnUntraced(function* (request: Request, result: Build.Ended): Effect.fn.Return<Answer> {
        const { end, endedAt, startedAt, usage } = result
        const base = {
          timesBuilt: 1,
          startedAt,
          endedAt,
          cpuUserMicroseconds: usage.cpuUserMicroseconds,
          cpuSystemMicroseconds: usage.cpuSystemMicroseconds
        }
        switch (end._tag) {
          case "Succeeded": {
            const message = request.check ? yield* differing(request, end.outputs) : null
            if (message !== null) return { ...base, status: "NotDeterministic", message, outputs: [] }
            yield* grant(request, end.outputs)
            return {
              ...base,
              status: "Built",
              message: "",
              outputs: end.outputs.map(({ info, name }) => ({ name, path: info.path }))
            }
          }
          case "Failed":
            return { ...base, status: end.failure.status, message: end.failure.message, outputs: [] }
          case "Cancelled":
            return {
              ...base,
              status: "MiscFailure",
              message: `the build of '/nix/store/${request.derivationPath}' was cancelled`,
              outputs: []
            }
        }
      })

      const submit = Effect.fnUntraced(function* (request: Request): Effect.fn.Return<Waiting, Refused, Scope.Scope> {
        const { account, derivation, derivationPath, limits } = request
        const needs = Requirements.of(derivation)
        if (needs.isUnconfined) {
          const detail = `derivation '/nix/store/${derivationPath}' has '__noChroot' set, but that's not allowed: every build here is sandboxed`
          return yield* new Refused({ status: "InputRejected", detail })
        }
        const closure = yield* closureOf(request).pipe(Tracing.step("closure"))
        const valid = request.check ? null : yield* validOutputs(request).pipe(Tracing.step("reuse"))
        if (valid !== null) return already(valid)

        const order = yield* orderOf(request, closure, needs).pipe(Tracing.step("identity"))
        const entry = yield* RcMap.get(running, keyOf(order, request, needs))
        const { build } = entry
        const limit = yield* Patience.watch(limits, build.progress)
        // How the last to leave leaves, is how the build ends; each says so just before going.
        let left: Outcome = "cancelled"
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            entry.left = left
          })
        )
        yield* build.join
        if (build.id !== order.id) {
          yield* Effect.orDie(records.join(build.id, account.id))
          yield* Tracing.reused("running")
        }
        const givenUp = Effect.gen(function* () {
          const reached = yield* Deferred.await(limit)
          const { startedAt } = yield* build.progress
          left = Patience.outcomeOf(reached)
          return {
            ...Patience.words(reached, derivationPath),
            timesBuilt: 1,
            startedAt: Math.floor((startedAt ?? 0) / 1000),
            endedAt: Math.floor((yield* Clock.currentTimeMillis) / 1000),
            cpuUserMicroseconds: null,
            cpuSystemMicroseconds: null,
            outputs: []
          }
        })
        return {
          // A log that cannot be read is no answer to the build: whoever waits is told of a defect.
          heard: Stream.interruptWhen(
            Hearing.over(build.attempts, (attempt) => Stream.orDie(logs.follow(attempt))),
            Deferred.await(limit)
          ),
          answer: Effect.raceFirst(
            Effect.flatMap(build.result, (result) => answerOf(request, result)),
            givenUp
          )
        }
      })

      return { submit }
    })
  )
}

const already = (outputs: Answer["outputs"]): Waiting => ({
  heard: Stream.empty,
  answer: Effect.succeed({
    status: "AlreadyValid",
    message: "",
    timesBuilt: 0,
    startedAt: 0,
    endedAt: 0,
    cpuUserMicroseconds: null,
    cpuSystemMicroseconds: null,
    outputs
  })
})

/** A build that somebody waits for, and how the last of them left. */
interface Entry {
  readonly build: Build.Build
  left: Outcome
}

/** Equal by its words alone: the order is that of whoever comes first. */
class Key implements Equal.Equal {
  readonly words: string
  readonly order: Build.Order

  constructor(words: string, order: Build.Order) {
    this.words = words
    this.order = order
  }

  [Equal.symbol](that: Equal.Equal): boolean {
    return that instanceof Key && that.words === this.words
  }

  [Hash.symbol](): number {
    return Hash.string(this.words)
  }
}
