/**
 * Answering with a build that has ended: what the record has of an identity, asked for one who would otherwise build.
 *
 * Whoever is answered so hears the log as the attempt left it, and before it a line that says when that was and how to
 * ask for a fresh build. It says nothing of who had it built. A log that is longer than they allow is cut there, and is
 * their answer, as it would have been had they waited while it was written: a success then gives them nothing.
 */
import { Effect, Stream } from "effect"
import type { Account } from "../../domain/Account.ts"
import type { AttemptId } from "../../domain/Attempt.ts"
import { Isolation } from "../../domain/Isolation.ts"
import type { Limits } from "../../domain/Limits.ts"
import * as Rules from "../../domain/Reuse.ts"
import { type Settings, table as variables } from "../../domain/Settings.ts"
import { hasNetwork } from "../../protocol/nix/Derivation.ts"
import { derivationName, type StorePath } from "../../protocol/nix/StorePath.ts"
import { LogStore } from "../../storage/LogStore.ts"
import { type Finished, ReuseRepository } from "../../storage/ReuseRepository.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import { BuilderPool, builtOutput } from "../builder/BuilderPool.ts"
import type { Order } from "./Build.ts"
import type { Answer, Heard } from "./Builds.ts"
import type { Granting } from "./Granting.ts"
import * as Patience from "./Patience.ts"
import { recorded } from "./Recorded.ts"
import type { Room } from "./Running.ts"

/** Who asks for an order, and by which rules of their own. */
export interface Asker {
  readonly account: Account
  readonly limits: Limits
  readonly settings: Settings
  readonly room: Room
}

/** A finished build that answers. */
export interface Found {
  readonly kind: "success" | "failure" | "timeout"
  readonly finished: Finished
}

/** Why none does: for the record, and for nobody but the operator. */
export interface NotFound {
  readonly notReused: string
}

export interface Reuse {
  /** What answers, or why nothing does. */
  readonly find: (order: Order, asker: Asker) => Effect.Effect<Found | NotFound>
  /** Records that this order was answered so, and answers it. */
  readonly answer: (
    order: Order,
    asker: Asker,
    found: Found
  ) => Effect.Effect<{ readonly heard: Stream.Stream<Heard>; readonly answer: Answer }>
}

export const make = Effect.fnUntraced(function* (granting: Granting) {
  const builders = yield* BuilderPool
  const isolating = yield* Isolation
  const logs = yield* LogStore
  const records = yield* ReuseRepository

  const find = Effect.fnUntraced(function* (
    order: Order,
    { account, limits, room, settings }: Asker
  ): Effect.fn.Return<Found | NotFound> {
    const { derivation, identity } = order
    const candidates = settings.reuseBuilds
      ? yield* recorded(records.candidates(identity, account.id, account.view))
      : []
    const decision = Rules.decide(candidates, {
      ...room,
      settings,
      limits,
      isolating,
      backend: builders.kindOf(derivation.system).backend,
      epoch: builders.epoch,
      hasNetwork: hasNetwork(derivation)
    })
    if (decision._tag === "Build") return { notReused: decision.reason }
    const { candidate, kind } = decision
    // A failure without its log says too little to be an answer.
    if (kind !== "success" && (yield* recorded(logs.size(candidate.attempt))) === null) {
      return { notReused: `${candidate.build}: its log is gone` }
    }
    return { kind, finished: candidate }
  }, Tracing.step("reuse"))

  const answer = Effect.fnUntraced(function* (order: Order, asker: Asker, found: Found) {
    const { derivation, derivationPath, id, identity } = order
    const { finished, kind } = found
    const { account, limits } = asker
    const logBytes = yield* recorded(logs.size(finished.attempt))
    const reached = Patience.lookAtLog(limits, logBytes ?? 0)
    const made = kind === "success" && reached === null ? yield* recorded(records.outputs(finished.build)) : []
    const outputs = yield* granting.grant(
      { view: account.view, derivationPath, derivation },
      made.map((output) => builtOutput(derivationPath, output))
    )
    yield* recorded(
      records.record({
        id,
        identity,
        derivation: derivationPath,
        name: derivationName(derivationPath),
        system: derivation.system,
        account: account.id,
        from: finished.build
      })
    )
    yield* Tracing.reused(kind === "success" ? "finished" : "failure")
    const answer: Answer = {
      ...(reached === null ? wordsOf(found, derivationPath, limits) : Patience.words(reached, derivationPath)),
      timesBuilt: 1,
      startedAt: finished.startedAt,
      endedAt: finished.endedAt,
      cpuUserMicroseconds: finished.cpuUserMicroseconds,
      cpuSystemMicroseconds: finished.cpuSystemMicroseconds,
      outputs
    }
    const line: Heard = { _tag: "Service", line: notice(kind, finished.endedAt) }
    // A success is one without its log, too.
    const log = logBytes === null ? Stream.empty : heard(finished.attempt, reached?.amount ?? logBytes)
    return { heard: Stream.concat(Stream.succeed(line), log), answer }
  })

  /** The log up to so many bytes. */
  const heard = (attempt: AttemptId, bytesMax: number): Stream.Stream<Heard> =>
    Stream.orDie(logs.follow(attempt)).pipe(
      Stream.mapAccum(
        () => bytesMax,
        (left, bytes) => [left - bytes.length, [bytes.subarray(0, Math.max(0, left))]] as const
      ),
      Stream.takeWhile((bytes) => bytes.length > 0),
      Stream.map((bytes) => ({ _tag: "Log", bytes }))
    )

  return { find, answer } satisfies Reuse
})

/** What the record says names the derivation as its first client did, which is nobody else's business. */
export const renamed = (message: string, from: StorePath, to: StorePath): string => message.replaceAll(from, to)

const wordsOf = (
  { finished, kind }: Found,
  derivationPath: StorePath,
  { silenceSecondsMax, timeoutSeconds }: Limits
): Pick<Answer, "status" | "message"> => {
  switch (kind) {
    case "success":
      return { status: "Built", message: "" }
    case "failure":
      return { status: finished.status, message: renamed(finished.message, finished.derivation, derivationPath) }
    case "timeout": {
      const isSilence = finished.outcome === "silent"
      const amount = (isSilence ? silenceSecondsMax : timeoutSeconds) ?? 0
      return Patience.words({ limit: isSilence ? "silence" : "time", amount }, derivationPath)
    }
  }
}

const notice = (kind: Found["kind"], endedAt: number): string => {
  // The time is the record's.
  const when = `${new Date(endedAt * 1000).toISOString().replace("T", " ").slice(0, 19)} UTC`
  switch (kind) {
    case "success":
      return `drover: built on ${when}; ${variables.reuseBuilds.variable}=false asks for a fresh build`
    case "failure":
      return `drover: failed on ${when}; ${variables.reuseBuildFailures.variable}=false asks for another try`
    case "timeout":
      return `drover: took too long on ${when}; ${variables.reuseBuildTimeouts.variable}=false asks for another try`
  }
}
