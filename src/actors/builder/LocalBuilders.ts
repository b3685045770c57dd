/**
 * The builders of this one host: each attempt is a sandbox of the backend that the host was started with.
 *
 * Each is a scope. Opening it starts the sandbox, closing it confirms that nothing of it is left. What the sandbox
 * floor fails with is ours and loses the builder; what its verdict says is the build's, and an answer.
 */
import { Effect, Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { AttemptId } from "../../domain/Attempt.ts"
import type { FailureStatus } from "../../domain/Failure.ts"
import { Host, HostId } from "../../domain/Host.ts"
import { Isolation } from "../../domain/Isolation.ts"
import * as OutputPlan from "../../domain/OutputPlan.ts"
import type { ReceivedNar } from "../../domain/ReceivedNar.ts"
import { type BasicDerivation, hasNetwork } from "../../protocol/nix/Derivation.ts"
import { StorePath } from "../../protocol/nix/StorePath.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import * as Job from "../../sandbox/Job.ts"
import { importOutputs } from "../../sandbox/OutputImport.ts"
import { OutputStore } from "../../sandbox/OutputStore.ts"
import { type Running, Sandbox } from "../../sandbox/Sandbox.ts"
import { type SandboxError } from "../../sandbox/SandboxError.ts"
import { verdict } from "../../sandbox/Verdict.ts"
import { NarStore } from "../../storage/NarStore.ts"
import { ReadLogRepository } from "../../storage/ReadLogRepository.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import { type Assignment, BuilderLost, BuildFailed, builtOutput, type Finished } from "./BuilderPool.ts"
import { type HostBuilders, probeNeed } from "./HostBuilders.ts"

/** What the operator lends of the machine. */
export interface Room {
  readonly cores: number
  readonly memoryBytes: number
  readonly features: ReadonlyArray<string>
}

/** This machine as the scheduler knows it. */
export const localHost = ({ kinds }: Sandbox["Service"], room: Room): Host =>
  new Host({
    id: HostId.make("local"),
    systems: kinds.flatMap(({ systems }) => systems),
    emulatedSystems: kinds.flatMap(({ backend, systems }) => (backend === "emulated" ? systems : [])),
    overheadBytes: Math.max(...kinds.map(({ overheadBytes }) => overheadBytes)),
    ...room
  })

export const make = Effect.fnUntraced(function* (
  host: Host
): Effect.fn.Return<
  HostBuilders,
  never,
  Sandbox | OutputStore | NarStore | ReadLogRepository | SecureRandom.SecureRandom
> {
  const sandbox = yield* Sandbox
  const isolating = yield* Isolation
  const outputs = yield* OutputStore
  const nars = yield* NarStore
  const readLogs = yield* ReadLogRepository
  const random = yield* SecureRandom.SecureRandom
  const kindOf = (system: string) => sandbox.kinds.find(({ systems }) => systems.includes(system)) ?? sandbox.kinds[0]

  const run = Effect.fnUntraced(function* (
    assignment: Assignment,
    log: (bytes: Uint8Array) => Effect.Effect<void>
  ): Effect.fn.Return<Finished, BuildFailed | BuilderLost, Scope.Scope> {
    const { account, attempt, closure, derivation, derivationPath, lease } = assignment
    const scope = yield* Effect.scope
    const planned = OutputPlan.of(derivationPath, derivation)
    if (planned instanceof WireError) return yield* refused(`its outputs have no paths: ${planned.message}`)

    const { cores, memoryBytes } = lease
    const job = Job.make({
      attempt,
      account,
      derivationPath,
      derivation,
      closure,
      outputs: planned,
      cores,
      memoryBytes
    })
    if (job instanceof Job.JobRefused) return yield* refused(job.message, job.status)
    const running = yield* sandbox.start(job).pipe(
      Tracing.stage("prepare", attempt),
      Effect.mapError((error) => lost(error.isOfInputs === true ? "service" : "host")(error))
    )
    const ended = yield* follow(running, log).pipe(Tracing.stage("run", attempt), Effect.mapError(lost("sandbox")))
    if (ended.inputsRead !== null) {
      yield* readLogs.record(attempt, job.inputs.length, ended.inputsRead).pipe(
        // Nothing is decided by it.
        Effect.catch((error) => Effect.logWarning("what a build read is not recorded", error))
      )
    }

    // Where memory is not accounted for, a suspicion is no answer: the build is tried again.
    if (ended.exit._tag === "OutOfMemory" && !ended.exit.certain) {
      const detail = "probably out of memory, which this host cannot tell for certain"
      return yield* new BuilderLost({ fault: "memory", detail })
    }
    if (ended.exit._tag === "Killed") {
      const detail = "its builder was killed from outside of its sandbox"
      return yield* new BuilderLost({ fault: "sandbox", detail })
    }
    const failure = verdict(derivationPath, ended.exit, {
      memoryBytes: lease.memoryBytes,
      network: hasNetwork(derivation),
      withoutNetwork: running.withoutNetwork
    })
    if (failure !== null) return yield* new BuildFailed({ failure, usage: ended.usage })

    let made: ReadonlyArray<ReceivedNar> = []
    const importing = importOutputs({ derivationPath, derivation, planned, closure, read: running.output }).pipe(
      Effect.provideService(OutputStore, outputs),
      Effect.tap((imported) => {
        made = imported.map(({ nar }) => nar)
        return nars.commit(made)
      }),
      Effect.map((imported) =>
        imported.map(({ contentAddress, name, nar: { narHash, narSize }, path, references }) =>
          builtOutput(derivationPath, { name, path, narHash, narSize, references, contentAddress })
        )
      ),
      Effect.provideService(Scope.Scope, scope),
      Effect.catchTags({
        OutputRefused: ({ detail, status }) =>
          Effect.fail(new BuildFailed({ failure: { status, outcome: "refused", message: detail } })),
        SandboxError: (error) => Effect.fail(lost("sandbox")(error)),
        StorageError: (error) => Effect.fail(lost("service")(error))
      })
    )
    return { usage: ended.usage, importOutputs: importing, keepOutputs: Effect.suspend(() => nars.commit(made)) }
  })

  /** As a build would: of the machine's own kind, and of nothing that a client has sent. */
  const probe = Effect.gen(function* () {
    const job = probing(AttemptId.make(yield* random.uuidV7()), sandbox.kinds[0].systems[0] ?? "")
    const running = yield* sandbox.start(job).pipe(Effect.mapError(lost("host")))
    const { exit } = yield* follow(running, () => Effect.void).pipe(Effect.mapError(lost("host")))
    if (exit._tag === "Exited" && exit.status === 0) return
    return yield* new BuilderLost({ fault: "host", detail: `expected a probe to end well, found ${exit._tag}` })
  }).pipe(Effect.scoped)

  return {
    host,
    kindOf: (system) => {
      const { backend, versions } = kindOf(system)
      return { backend, versions, isIsolating: isolating.includes(backend) }
    },
    epoch: sandbox.epoch,
    run,
    probe
  }
})

/** A builder that ends at once. */
const probing = (attempt: AttemptId, system: string): Job.Job => {
  const name = "00000000000000000000000000000000-drover-probe"
  const derivationPath = StorePath.make(`${name}.drv`)
  const words = (text: string) => new TextEncoder().encode(text)
  const derivation: BasicDerivation = {
    outputs: [["out", { _tag: "InputAddressed", path: StorePath.make(name) }]],
    inputSources: [],
    system,
    builder: words("/bin/sh"),
    arguments: [words("-c"), words(":")],
    environment: []
  }
  const outputs = OutputPlan.of(derivationPath, derivation)
  const job =
    outputs instanceof WireError
      ? outputs
      : Job.make({ attempt, derivationPath, derivation, closure: [], outputs, ...probeNeed })
  // It is a derivation like any other, and always the same one.
  if (job instanceof WireError || job instanceof Job.JobRefused) throw job
  return job
}

const follow = Effect.fnUntraced(function* (running: Running, log: (bytes: Uint8Array) => Effect.Effect<void>) {
  yield* Stream.runForEach(running.log, log)
  return yield* running.ended
})

const lost = (fault: BuilderLost["fault"]) => (error: SandboxError | StorageError) =>
  new BuilderLost({ fault, detail: error.message, cause: error })

const refused = (message: string, status: FailureStatus = "InputRejected") =>
  new BuildFailed({ failure: { status, outcome: "failed", message } })
