/**
 * The build actor: performs what `BuildLifecycle` decides.
 *
 * Each branch turns one command into one call, and each way that call can end into one message. There is no policy
 * in this file. What an attempt holds, its lease and its sandbox, is in a scope of the attempt's own, so that it is
 * given back however the attempt ends, whatever has been said of it.
 *
 * Nobody is told of an end that has not been recorded.
 */
import { Clock, Deferred, Effect, Exit, FiberHandle, Result, Scope, Stream, SubscriptionRef } from "effect"
import { SecureRandom } from "effect/crypto"
import { AttemptId, noUsage, type Outcome, type Usage } from "../../domain/Attempt.ts"
import type { BuildId } from "../../domain/BuildId.ts"
import { type Lease, LeaseId } from "../../domain/Lease.ts"
import { Need } from "../../domain/Need.ts"
import type { BasicDerivation } from "../../protocol/nix/Derivation.ts"
import type { PathInfo } from "../../protocol/nix/PathInfo.ts"
import { print, type StorePath } from "../../protocol/nix/StorePath.ts"
import { BuildRepository, type Written } from "../../storage/BuildRepository.ts"
import { Journal } from "../../storage/Journal.ts"
import { LogStore } from "../../storage/LogStore.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import * as Actor from "../Actor.ts"
import {
  type BuilderLost,
  BuilderPool,
  type BuildFailed,
  type BuiltOutput,
  type Finished
} from "../builder/BuilderPool.ts"
import { type Asked, Scheduler } from "../scheduler/Scheduler.ts"
import type { Standing } from "../scheduler/Standing.ts"
import { Command, Message, start, type State, table, type Terms } from "./BuildLifecycle.ts"
import { type End, outcomeOf, recordOf } from "./End.ts"
import { recorded } from "./Recorded.ts"

/** What is to be built, and what it asks for. */
export interface Order {
  /** The record's id, a UUIDv7. */
  readonly id: string
  readonly identity: BuildId
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  readonly closure: ReadonlyArray<PathInfo>
  readonly need: Omit<Need, "lease" | "memoryBytes">
  readonly terms: Terms
  readonly accountName: string
}

export interface Ended {
  readonly end: End
  readonly attempts: number
  /** Seconds since the epoch, of the last attempt; zero where there was none. */
  readonly startedAt: number
  readonly endedAt: number
  readonly usage: Usage
}

/** How far the attempt under way is: what the waiters' own limits are measured by. */
export interface Progress {
  /** Milliseconds since the epoch; null while nothing runs. */
  readonly startedAt: number | null
  readonly heardAt: number
  readonly logBytes: number
}

export interface Build {
  readonly id: string
  /** As the first who asked for it calls it. */
  readonly derivationPath: StorePath
  /** The attempts whose logs make up what a waiter hears, the one under way first; ends with the build. */
  readonly attempts: Stream.Stream<AttemptId>
  /** Where it stands whenever it waits for a lease, at each change; ends with the build. */
  readonly standing: Stream.Stream<Standing | null>
  readonly progress: Effect.Effect<Progress>
  readonly result: Effect.Effect<Ended>
  /** Links the trace of the request within which this is run with that of the build. */
  readonly join: Effect.Effect<void>
  /** Ends it, and returns when nothing of it is left. Does nothing to a build that has ended. */
  readonly cancel: (outcome: Outcome) => Effect.Effect<void>
  /** As `cancel`, but for the record, in which it stays open for the server that comes next. */
  readonly handOn: Effect.Effect<void>
  /** Returns when it has ended and nothing of it is left. */
  readonly gone: Effect.Effect<void>
}

/** Puts a word on record. What it follows is put there again, if a database that was killed has lost it. */
const put = (word: Effect.Effect<Written, StorageError>, before: Effect.Effect<unknown>): Effect.Effect<unknown> =>
  word.pipe(
    Effect.catchIf(
      (error) => error.isUnfounded,
      () => Effect.succeed("unfounded" as const)
    ),
    recorded,
    Effect.flatMap((written) => (written === "written" ? Effect.void : Effect.andThen(before, recorded(word))))
  )

const attemptOf = (lease: LeaseId): AttemptId => AttemptId.make(lease)

export const spawn = Effect.fnUntraced(function* (
  order: Order,
  /** Puts it on record; doing so twice changes nothing. */
  putBuild: Effect.Effect<void>
): Effect.fn.Return<
  Build,
  never,
  Scheduler | BuilderPool | BuildRepository | LogStore | SecureRandom.SecureRandom | Scope.Scope
> {
  const scheduler = yield* Scheduler
  const builders = yield* BuilderPool
  const records = yield* BuildRepository
  const logs = yield* LogStore
  const journal = yield* Journal
  const random = yield* SecureRandom.SecureRandom
  // Made here, so that it closes after whatever is said to the build when its own scope closes: an attempt whose sandbox
  // went first would be lost, and not cancelled.
  const owner = yield* Effect.flatMap(Effect.scope, Scope.fork)
  const trace = yield* Tracing.build({
    account: order.accountName,
    derivation: print(order.derivationPath),
    system: order.derivation.system
  })

  const result = yield* Deferred.make<Ended>()
  const gone = yield* Deferred.make<void>()
  const heard = yield* SubscriptionRef.make<{ readonly attempt: AttemptId | null; readonly ended: boolean }>({
    attempt: null,
    ended: false
  })

  const asked = yield* SubscriptionRef.make<Asked | null>(null)

  // A build waits for one thing at a time, so starting the next call ends the last.
  const call = yield* FiberHandle.make<void, never>()

  /** Can be interrupted while it runs, but not between its answer and the message that carries it. */
  const begin = <A, E>(
    effect: Effect.Effect<A, E>,
    answer: {
      readonly onSuccess: (value: A) => Effect.Effect<void>
      readonly onFailure: (error: E) => Effect.Effect<void>
    }
  ) =>
    FiberHandle.run(
      call,
      Effect.uninterruptibleMask((restore) => Effect.matchEffect(restore(effect), answer))
    )

  // The attempt under way. Only the actor's fiber and the one call that it began touch these.
  let scope: Scope.Closeable | null = null
  /** What it has been lent: of an attempt that begins with it, or that never will if its build is cancelled just then. */
  let lease: Lease | null = null
  /** Null until it begins. */
  let attempt: AttemptId | null = null
  /** All that is on record of it so far, to be put there again. */
  let putSoFar: Effect.Effect<unknown> = putBuild
  let finished: Finished | null = null
  let outputs: ReadonlyArray<BuiltOutput> = []
  let attempts = 0
  /** For which attempt the last builder spoke. */
  let word: AttemptId | null = null
  /** What the journal has not been told the end of. */
  const open: { attempt: AttemptId | null; build: boolean } = { attempt: null, build: true }
  /** Its end is on record, or is the next server's to put there. */
  let isClosed = false
  let startedAt = 0
  let usage = noUsage
  let progress: Progress = { startedAt: null, heardAt: 0, logBytes: 0 }

  const say = (word: Effect.Effect<Written, StorageError>) => {
    putSoFar = put(word, putSoFar)
    return putSoFar
  }

  const leave = Effect.suspend(() => {
    const ending = scope
    scope = null
    lease = null
    attempt = null
    finished = null
    return Effect.andThen(FiberHandle.clear(call), ending === null ? Effect.void : Scope.close(ending, Exit.void))
  })

  const requestLease = Effect.fnUntraced(function* (into: Scope.Closeable, memoryBytes: number) {
    const need = new Need({ ...order.need, memoryBytes, lease: LeaseId.make(yield* random.uuidV7()) })
    const request = yield* Scope.provide(scheduler.request(need), into)
    yield* SubscriptionRef.set(asked, request)
    return yield* request.granted
  })

  const append = (log: LogStore.Log) => (bytes: Uint8Array) =>
    Effect.gen(function* () {
      progress = { ...progress, heardAt: yield* Clock.currentTimeMillis, logBytes: progress.logBytes + bytes.length }
      yield* recorded(log.append(bytes))
    })

  const runBuilder = Effect.fnUntraced(function* (
    into: Scope.Closeable,
    lent: Lease,
    onRecord: Effect.Effect<unknown>
  ) {
    const attempt = attemptOf(lent.id)
    yield* onRecord
    const log = yield* Scope.provide(recorded(logs.open(attempt)), into)
    yield* SubscriptionRef.set(heard, { attempt, ended: false })
    const now = yield* Clock.currentTimeMillis
    startedAt = Math.floor(now / 1000)
    progress = { startedAt: now, heardAt: now, logBytes: 0 }
    const { closure, derivation, derivationPath } = order
    const assignment = { attempt, account: order.need.account, lease: lent, derivationPath, derivation, closure }
    return yield* Scope.provide(builders.run(assignment, append(log)), into).pipe(Effect.ensuring(log.end))
  })

  /** Gives what puts it on record: said already, so that its end finds it there even if its builder never comes to run. */
  const beginAttempt = Effect.fnUntraced(function* (id: AttemptId, lent: Lease, ordinal: number) {
    attempt = id
    attempts = ordinal
    usage = noUsage
    progress = { startedAt: null, heardAt: 0, logBytes: 0 }
    const { backend, isIsolating, versions } = builders.kindOf(order.derivation.system, lent.host)
    const { cores, host, memoryBytes } = lent
    const kind = { host, sandbox: backend, epoch: builders.epoch, versions, cores, memoryBytes }
    open.attempt = id
    yield* journal.append({ _tag: "AttemptStarted", attempt: id, build: order.id, backend, isIsolating })
    return say(records.beginAttempt(order.id, { id, ...kind }))
  })

  const endAttempt = Effect.fnUntraced(function* (of: LeaseId, outcome: Outcome, detail: string) {
    // Whatever runs is stopped before its end is recorded, but its lease is kept until it is gone for certain.
    yield* FiberHandle.clear(call)
    const { logBytes } = progress
    progress = { ...progress, startedAt: null }
    open.attempt = null
    yield* journal.append({ _tag: "AttemptEnded", attempt: attemptOf(of), build: order.id, outcome, word })
    yield* say(records.endAttempt(attemptOf(of), { outcome, detail, usage, logBytes }))
    yield* Tracing.attemptEnded(outcome)
  })

  const answer = Effect.fnUntraced(function* (end: End) {
    const endedAt = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const ending = recordOf(end)
    open.build = false
    yield* journal.append({ _tag: "BuildEnded", build: order.id, state: ending.state, attempt })
    // Then what brings the end to the disk brings this there, too.
    yield* journal.written
    yield* say(records.finish(order.id, ending, attempt ?? undefined))
    isClosed = true
    yield* trace.end(outcomeOf(end), attempts)
    yield* SubscriptionRef.update(heard, ({ attempt }) => ({ attempt, ended: true }))
    yield* Deferred.succeed(result, { end, attempts, startedAt, endedAt, usage })
  })

  const lost = Effect.fnUntraced(function* (self: Teller, lease: LeaseId, error: BuildFailed | BuilderLost) {
    if (error._tag === "BuilderLost") {
      yield* Effect.logWarning("builder lost", error)
      return yield* self.tell(Message.cases.BuilderLost.make({ lease, fault: error.fault, detail: error.detail }))
    }
    const { failure } = error
    usage = error.usage ?? usage
    const told = failure.outcome === "out-of-memory" ? Message.cases.OutOfMemory : Message.cases.Failed
    return yield* self.tell(told.make({ lease, failure }))
  })

  const perform = (command: Command, self: Teller): Effect.Effect<void> =>
    Command.match(command, {
      RequestLease: ({ memoryBytes }) =>
        Effect.gen(function* () {
          // Whoever comes now hears the next attempt, and of the last nothing.
          yield* SubscriptionRef.set(heard, { attempt: null, ended: false })
          const into = yield* Scope.fork(owner)
          scope = into
          yield* Effect.asVoid(
            begin(requestLease(into, memoryBytes).pipe(Tracing.stage("queue", null)), {
              onSuccess: (granted) => {
                lease = granted
                return self.tell(Message.cases.Leased.make({ lease: granted.id }))
              },
              onFailure: ({ reason }) =>
                self.tell(
                  Message.cases.NeverFits.make({
                    failure: {
                      status: "InputRejected",
                      outcome: "failed",
                      message: `cannot build '/nix/store/${order.derivationPath}': ${reason}`
                    }
                  })
                )
            })
          )
        }),
      StartBuilder: ({ attempt: ordinal, lease: id }) =>
        // The lifecycle starts a builder only on the lease that it was just given, and holds until it lets it go.
        Effect.flatMap(beginAttempt(attemptOf(id), lease!, ordinal), (onRecord) =>
          Effect.asVoid(
            begin(runBuilder(scope!, lease!, onRecord), {
              onSuccess: (run) => {
                finished = run
                usage = run.usage
                return self.tell(Message.cases.Exited.make({ lease: id }))
              },
              onFailure: (error) => lost(self, id, error)
            })
          )
        ),
      ImportOutputs: ({ lease: id }) =>
        Effect.gen(function* () {
          // The lifecycle imports only what its builder has finished, before it lets the lease go.
          const { importOutputs, keepOutputs } = finished!
          yield* recorded(records.setState(order.id, "importing", attemptOf(id)))
          yield* begin(importOutputs.pipe(Tracing.stage("import", id)), {
            onSuccess: (built) => {
              outputs = built
              putSoFar = Effect.andThen(putSoFar, recorded(keepOutputs))
              return Effect.andThen(
                journal.append({ _tag: "OutputsVerified", attempt: attemptOf(id), build: order.id }),
                self.tell(Message.cases.Imported.make({ lease: id }))
              )
            },
            onFailure: (error) => lost(self, id, error)
          })
        }),
      EndAttempt: ({ detail, lease, outcome }) => endAttempt(lease, outcome, detail),
      AnswerSuccess: () => Effect.suspend(() => answer({ _tag: "Succeeded", outputs })),
      AnswerFailure: ({ failure }) => answer({ _tag: "Failed", failure }),
      AnswerCancelled: ({ outcome }) => answer({ _tag: "Cancelled", outcome }),
      AnswerLater: () => {
        isClosed = true
        return journal.append({ _tag: "BuildEnded", build: order.id, state: "cancelled", attempt: null })
      },
      ReleaseLease: () => leave,
      SayGone: () => Effect.andThen(leave, Deferred.succeed(gone, void 0))
    }).pipe(Effect.asVoid)

  /** Of a build whose actor died, the record would tell until the next start as of one under way. */
  const close = Effect.gen(function* () {
    yield* FiberHandle.clear(call)
    const [build, outcome] = [order.id, "cancelled"] as const
    if (open.attempt !== null) {
      yield* journal.append({ _tag: "AttemptEnded", attempt: open.attempt, build, outcome, word: null })
    }
    if (open.build) yield* journal.append({ _tag: "BuildEnded", build, state: outcome, attempt: null })
    yield* recorded(records.finish(build, recordOf({ _tag: "Cancelled", outcome })))
  }).pipe(Effect.catchCause((cause) => Effect.logError("the end of a build is not on record", cause)))
  yield* Effect.addFinalizer(() => (isClosed ? Effect.void : close))

  yield* journal.append({
    _tag: "BuildQueued",
    build: order.id,
    identity: order.identity,
    account: order.need.account
  })
  const actor: Actor.Actor<State, Message> = yield* Actor.spawn({
    name: `build/${order.id}`,
    mailbox: 16,
    start: start(order.terms),
    table,
    hear: (message) => {
      word = "lease" in message && message._tag !== "Leased" ? attemptOf(message.lease) : null
    },
    perform: (command, self) => trace.within(perform(command, self))
  })
  // A call that dies answers with no message, so nobody would ever be told: whoever waits is told of it as of the actor's.
  const died = Effect.raceFirst(actor.ended, Effect.andThen(FiberHandle.join(call), Effect.never))
  // An actor that has died is taken down by its scope, and by nothing that it is told.
  const isGone = Effect.raceFirst(Deferred.await(gone), Effect.asVoid(Effect.exit(actor.ended)))

  return {
    id: order.id,
    derivationPath: order.derivationPath,
    attempts: SubscriptionRef.changes(heard).pipe(
      Stream.takeUntil(({ ended }) => ended),
      Stream.filterMap(({ attempt }) => (attempt === null ? Result.failVoid : Result.succeed(attempt))),
      Stream.changes,
      Stream.interruptWhen(died)
    ),
    standing: SubscriptionRef.changes(asked).pipe(
      Stream.switchMap((request) =>
        request === null ? Stream.succeed(null) : Stream.concat(request.standing, Stream.succeed(null))
      ),
      Stream.interruptWhen(Effect.exit(Effect.raceFirst(Deferred.await(result), died)))
    ),
    progress: Effect.sync(() => progress),
    result: Effect.raceFirst(Deferred.await(result), died),
    join: trace.join,
    cancel: (outcome) => Effect.andThen(actor.tell(Message.cases.Cancel.make({ outcome })), isGone),
    handOn: Effect.andThen(actor.tell(Message.cases.HandOn.make({})), isGone),
    gone: isGone
  }
})

type Teller = Pick<Actor.Actor<State, Message>, "tell">
