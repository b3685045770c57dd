/** A builder pool whose builders do what the test tells them: they log, end, fail or are lost when told so. */
import { Deferred, Effect, Layer, Queue } from "effect"
import { type AttemptId, noUsage } from "../../src/domain/Attempt.ts"
import { Host, HostId } from "../../src/domain/Host.ts"
import {
  type Assignment,
  BuilderPool,
  type BuilderLost,
  type BuildFailed,
  type BuiltOutput,
  type Kind
} from "../../src/actors/builder/BuilderPool.ts"

/** One builder at work, in the test's hands. */
export interface AtWork {
  readonly attempt: AttemptId
  readonly assignment: Assignment
  readonly say: (text: string) => Effect.Effect<void>
  readonly end: (
    how: Effect.Effect<ReadonlyArray<BuiltOutput>, BuildFailed | BuilderLost>,
    /** How what it made is put on record again. */
    keep?: Effect.Effect<void>
  ) => Effect.Effect<void>
  /** Resolves when its sandbox is gone. */
  readonly gone: Effect.Effect<void>
}

export const host = (cores: number) =>
  new Host({
    id: HostId.make("local"),
    systems: ["x86_64-linux"],
    features: ["big-parallel"],
    cores,
    memoryBytes: 64 * 2 ** 30,
    overheadBytes: 0
  })

const shared: Kind = { backend: "process", versions: {}, isIsolating: false }

export const makeAs = Effect.fnUntraced(function* (kind: Kind = shared) {
  const started = yield* Queue.unbounded<AtWork>()
  let live = 0
  let most = 0
  let count = 0
  const layer = Layer.succeed(BuilderPool, {
    hosts: [host(4)],
    kindOf: () => kind,
    epoch: 1,
    run: (assignment, log) =>
      Effect.gen(function* () {
        const gone = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<ReadonlyArray<BuiltOutput>, BuildFailed | BuilderLost>()
        let keeping: Effect.Effect<void> = Effect.void
        most = Math.max(most, ++live)
        count++
        yield* Effect.addFinalizer(() => {
          live--
          return Deferred.succeed(gone, undefined)
        })
        yield* Queue.offer(started, {
          attempt: assignment.attempt,
          assignment,
          say: (text) => log(new TextEncoder().encode(text)),
          end: (how, keep = Effect.void) => {
            keeping = keep
            return Deferred.complete(ended, how)
          },
          gone: Deferred.await(gone)
        })
        const outputs = yield* Deferred.await(ended)
        return {
          usage: { ...noUsage, cpuUserMicroseconds: 1, cpuSystemMicroseconds: 2, memoryPeakBytes: 3 },
          importOutputs: Effect.succeed(outputs),
          keepOutputs: keeping
        }
      })
  })
  return {
    layer,
    next: Queue.take(started),
    most: Effect.sync(() => most),
    count: Effect.sync(() => count)
  }
})

export const make = makeAs()
