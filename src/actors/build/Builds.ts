/**
 * Where a client's build comes to its answer: by what it has already, by a build that has ended, by one that is under
 * way, or by one of its own.
 *
 * What one account had built answers another only where the sandbox keeps them apart; where it does not, the account is
 * part of what makes a build the same. What is impure, or asked for again on purpose, is shared with nobody.
 */
import { Clock, Context, Deferred, Effect, Layer, Option, type Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Account } from "../../domain/Account.ts"
import type { Departure } from "../../domain/Departure.ts"
import type { FailureStatus } from "../../domain/Failure.ts"
import type { Limits } from "../../domain/Limits.ts"
import * as Requirements from "../../domain/Requirements.ts"
import type { Settings } from "../../domain/Settings.ts"
import type { BasicDerivation } from "../../protocol/nix/Derivation.ts"
import { derivationName, type StorePath } from "../../protocol/nix/StorePath.ts"
import { BuildRepository } from "../../storage/BuildRepository.ts"
import { LogStore } from "../../storage/LogStore.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import { BuilderPool } from "../builder/BuilderPool.ts"
import { Scheduler } from "../scheduler/Scheduler.ts"
import type { Standing } from "../scheduler/Standing.ts"
import * as Attendance from "./Attendance.ts"
import * as Build from "./Build.ts"
import * as Granting from "./Granting.ts"
import * as Hearing from "./Hearing.ts"
import * as Keeping from "./Keeping.ts"
import * as Ordering from "./Ordering.ts"
import * as Patience from "./Patience.ts"
import * as QueueLines from "./QueueLines.ts"
import { recorded } from "./Recorded.ts"
import { Refused } from "./Refused.ts"
import * as Reuse from "./Reuse.ts"
import * as Running from "./Running.ts"

export interface Request {
  readonly account: Account
  /** What the client calls the derivation: shown, logged, believed in nothing. */
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  readonly limits: Limits
  readonly settings: Settings
  /** True for mode `check`: build again and compare. */
  readonly check: boolean
  /** How its client is gone, asked when the wait ends unanswered. Left out, or null: it leaves by that. */
  readonly departure?: () => Departure | null
  /** The wait of an earlier server that this one takes up. */
  readonly resumed?: Keeping.Resumed
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
  /** The build that others find as well; null where there is none to wait for, or none but its asker's own. */
  readonly build: string | null
  /** From the log's first line, whenever one came to wait; ends before the answer. To read slowly slows nobody else. */
  readonly heard: Stream.Stream<Heard>
  /** Asked for once. On success the account's view holds the outputs before it comes. */
  readonly answer: Effect.Effect<Answer>
}

export class Builds extends Context.Service<
  Builds,
  {
    /** Waits until the scope closes: the last wait to end, ends the build. */
    readonly submit: (request: Request) => Effect.Effect<Waiting, Refused, Scope.Scope>
    /** Where a build stands in the queue; null for one that does not wait there. */
    readonly standing: (build: string) => Effect.Effect<Standing | null>
  }
>()("drover/actors/Builds") {
  static readonly layer = Layer.effect(
    Builds,
    Effect.gen(function* () {
      const builders = yield* BuilderPool
      const scheduler = yield* Scheduler
      const records = yield* BuildRepository
      const logs = yield* LogStore
      const random = yield* SecureRandom.SecureRandom
      const { attend, reused } = yield* Attendance.make
      const ordering = yield* Ordering.make
      const granting = yield* Granting.make
      const reuse = yield* Reuse.make(granting)
      const running = yield* Running.make({
        end: (build, { limitSeconds }) =>
          limitSeconds === null ? Effect.void : recorded(records.setLimit(build.id, limitSeconds))
      })
      // What `all` may come to on any host.
      const coresMax = Math.max(...builders.hosts.map(({ cores }) => cores))

      const underWay = new Map<string, Build.Build>()

      /** Builds of an earlier server that have been begun again. */
      const begunAgain = new Set<string>()

      /** Two who waited for one build may by now not be served by one: the second's is another, by another name. */
      const named = Effect.fnUntraced(function* ({ resumed }: Request, order: Build.Order) {
        if (resumed === undefined) return order
        if (begunAgain.has(order.id)) return { ...order, id: yield* random.uuidV7() }
        begunAgain.add(order.id)
        return order
      })

      const begin = Effect.fnUntraced(function* (order: Build.Order, notReused: string) {
        const putBuild = recorded(
          records.create({
            id: order.id,
            identity: order.identity,
            derivation: order.derivationPath,
            name: derivationName(order.derivationPath),
            system: order.derivation.system,
            account: order.need.account,
            notReused
          })
        )
        yield* putBuild
        const build = yield* Build.spawn(order, putBuild).pipe(
          Effect.provideService(BuilderPool, builders),
          Effect.provideService(Scheduler, scheduler),
          Effect.provideService(BuildRepository, records),
          Effect.provideService(LogStore, logs),
          Effect.provideService(SecureRandom.SecureRandom, random)
        )
        yield* Effect.acquireRelease(
          Effect.sync(() => underWay.set(order.id, build)),
          () => Effect.sync(() => underWay.delete(order.id))
        )
        return build
      })

      const standing = (id: string): Effect.Effect<Standing | null> =>
        Effect.suspend(() => {
          const build = underWay.get(id)
          if (build === undefined) return Effect.succeed(null)
          return Effect.map(Stream.runHead(build.standing), Option.getOrNull)
        })

      /** Why a build is its asker's alone; null if it is not. */
      const aloneBecause = ({ check }: Request, { isImpure }: Requirements.Requirements): string | null => {
        if (check) return "asked for again, to compare"
        return isImpure ? "impure" : null
      }

      const wordsOf = ({ derivation, identity }: Build.Order, { account }: Request): string =>
        builders.kindOf(derivation.system).isIsolating ? identity : `${identity}/${account.id}`

      const roomOf = ({ need, terms }: Build.Order): Running.Room => ({
        cores: need.cores === "all" ? coresMax : need.cores,
        memoryBytes: terms.memoryBytes,
        memoryBytesMax: terms.memoryBytesMax
      })

      const answerOf = Effect.fnUntraced(function* (
        request: Request,
        build: Build.Build,
        result: Build.Ended
      ): Effect.fn.Return<Answer> {
        const { derivationPath } = request
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
            const asked = grantOf(request)
            const other = request.check ? yield* granting.differing(asked, end.outputs) : null
            if (other !== null) {
              const message = `derivation '/nix/store/${derivationPath}' may not be deterministic: output '/nix/store/${other}' differs`
              return { ...base, status: "NotDeterministic", message, outputs: [] }
            }
            return { ...base, status: "Built", message: "", outputs: yield* granting.grant(asked, end.outputs) }
          }
          case "Failed": {
            const message = Reuse.renamed(end.failure.message, build.derivationPath, derivationPath)
            return { ...base, status: end.failure.status, message, outputs: [] }
          }
          case "Cancelled":
            return {
              ...base,
              status: "MiscFailure",
              message: `the build of '/nix/store/${derivationPath}' was cancelled`,
              outputs: []
            }
        }
      })

      /** Waits with a build under way, by one's own limits. */
      const wait = Effect.fnUntraced(function* (request: Request, { build, leaving }: Running.Joined) {
        const { derivationPath, limits } = request
        const limit = yield* Patience.watch(limits, build.progress)
        const giveUp = Effect.fnUntraced(function* (reached: Patience.Reached, startedAt: number) {
          leaving({
            outcome: Patience.outcomeOf(reached),
            limitSeconds: reached.limit === "log" ? null : reached.amount
          })
          return {
            ...Patience.words(reached, derivationPath),
            timesBuilt: 1,
            startedAt,
            endedAt: Math.floor((yield* Clock.currentTimeMillis) / 1000),
            cpuUserMicroseconds: null,
            cpuSystemMicroseconds: null,
            outputs: []
          }
        })
        return {
          // A log that cannot be read is no answer to the build: whoever waits is told of a defect.
          heard: Hearing.over(build.attempts, (attempt) => Stream.orDie(logs.follow(attempt))).pipe(
            Stream.merge(QueueLines.over(build.standing), { haltStrategy: "left" }),
            Stream.interruptWhen(Deferred.await(limit))
          ),
          answer: Effect.raceFirst(
            Effect.gen(function* () {
              const result = yield* build.result
              // A limit that was reached first has cut the log short already. Or the build may have come to its end before
              // anybody looked at what it wrote.
              const reached = (yield* Deferred.isDone(limit))
                ? yield* Deferred.await(limit)
                : Patience.lookAtLog(limits, (yield* build.progress).logBytes)
              return yield* reached === null ? answerOf(request, build, result) : giveUp(reached, result.startedAt)
            }),
            Effect.gen(function* () {
              const reached = yield* Deferred.await(limit)
              const { startedAt } = yield* build.progress
              return yield* giveUp(reached, Math.floor((startedAt ?? 0) / 1000))
            })
          )
        }
      })

      const submit = Effect.fnUntraced(function* (request: Request): Effect.fn.Return<Waiting, Refused, Scope.Scope> {
        const { account, check, derivation, derivationPath, limits, settings } = request
        const needs = Requirements.of(derivation)
        const refusal = Requirements.refusal(derivation, needs)
        if (refusal !== null) {
          const detail = `derivation '/nix/store/${derivationPath}' ${refusal}`
          return yield* new Refused({ status: "InputRejected", detail })
        }
        const order = yield* ordering.orderOf(request, needs)
        const valid = check ? null : yield* granting.valid(grantOf(request))
        if (valid !== null) return already(valid)

        const alone = aloneBecause(request, needs)
        const asker = { account, limits, settings, room: roomOf(order) }
        let notReused = alone ?? ""
        const answered = Effect.gen(function* () {
          if (alone !== null) return null
          const found: Reuse.Found | Reuse.NotFound = yield* reuse.find(order, asker)
          if ("finished" in found) return found
          notReused = found.notReused
          return null
        })
        const joined = yield* running.join({
          words: alone === null ? wordsOf(order, request) : order.id,
          room: asker.room,
          answered,
          begin: Effect.flatMap(named(request, order), (order) => begin(order, notReused))
        })
        if ("answered" in joined) {
          // The build of an earlier server is on record, and not as one that was answered.
          const own = request.resumed === undefined ? order : { ...order, id: yield* random.uuidV7() }
          yield* reused(own, joined.answered.finished.build)
          const { answer, heard } = yield* reuse.answer(own, asker, joined.answered)
          return { build: null, heard, ...(yield* attend(request, own, own.id, Effect.succeed(answer))) }
        }
        const { build } = joined
        yield* build.join
        if (build.id !== order.id) {
          yield* recorded(records.join(build.id, account.id))
          yield* Tracing.reused("running")
        }
        const { answer, heard } = yield* wait(request, joined)
        return {
          build: alone === null ? build.id : null,
          heard,
          ...(yield* attend(request, order, build.id, answer))
        }
      })

      return { submit: yield* Keeping.make(submit), standing }
    })
  )
}

const grantOf = ({ account, derivation, derivationPath }: Request): Granting.Request => ({
  view: account.view,
  derivationPath,
  derivation
})

const already = (outputs: Answer["outputs"]): Waiting => ({
  build: null,
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
