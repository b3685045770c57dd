/**
 * The builders of this one host: each attempt is a sandbox of the backend that the host was started with.
 *
 * Each is a scope. Opening it starts the sandbox, closing it confirms that nothing of it is left. What the sandbox
 * floor fails with is ours and loses the builder; what its verdict says is the build's, and an answer.
 */
import { Effect, Layer, Scope, Stream } from "effect"
import type { Backend } from "../../domain/Attempt.ts"
import type { FailureStatus } from "../../domain/Failure.ts"
import { Host, HostId } from "../../domain/Host.ts"
import * as OutputPlan from "../../domain/OutputPlan.ts"
import { hasNetwork } from "../../protocol/nix/Derivation.ts"
import { PathInfo } from "../../protocol/nix/PathInfo.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import * as Job from "../../sandbox/Job.ts"
import { importOutputs, type ImportedOutput } from "../../sandbox/OutputImport.ts"
import { OutputStore } from "../../sandbox/OutputStore.ts"
import { type Running, Sandbox } from "../../sandbox/Sandbox.ts"
import { type SandboxError } from "../../sandbox/SandboxError.ts"
import { verdict } from "../../sandbox/Verdict.ts"
import { NarStore } from "../../storage/NarStore.ts"
import { ReadLogRepository } from "../../storage/ReadLogRepository.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import {
  type Assignment,
  BuilderLost,
  BuilderPool,
  BuildFailed,
  type BuiltOutput,
  type Finished
} from "./BuilderPool.ts"

/** What the operator lends of the machine. */
export interface Room {
  readonly cores: number
  readonly memoryBytes: number
  readonly features: ReadonlyArray<string>
}

/** Backends that keep accounts apart well enough that one may be answered with what another built. */
const isolating: ReadonlyArray<Backend> = ["kvm", "emulated"]

/** This machine as the scheduler knows it. */
export const localHost = ({ kinds }: Sandbox["Service"], room: Room): Host =>
  new Host({
    id: HostId.make("local"),
    systems: kinds.flatMap(({ systems }) => systems),
    overheadBytes: Math.max(...kinds.map(({ overheadBytes }) => overheadBytes)),
    ...room
  })

export const layer = (host: Host) =>
  Layer.effect(
    BuilderPool,
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const outputs = yield* OutputStore
      const nars = yield* NarStore
      const readLogs = yield* ReadLogRepository
      const kindOf = (system: string) =>
        sandbox.kinds.find(({ systems }) => systems.includes(system)) ?? sandbox.kinds[0]

      const run = Effect.fnUntraced(function* (
        assignment: Assignment,
        log: (bytes: Uint8Array) => Effect.Effect<void>
      ): Effect.fn.Return<Finished, BuildFailed | BuilderLost, Scope.Scope> {
        const { attempt, closure, derivation, derivationPath, lease } = assignment
        const scope = yield* Effect.scope
        const planned = OutputPlan.of(derivationPath, derivation)
        if (planned instanceof WireError) return yield* refused(`its outputs have no paths: ${planned.message}`)

        const { cores, memoryBytes } = lease
        const job = Job.make({ attempt, derivationPath, derivation, closure, outputs: planned, cores, memoryBytes })
        if (job instanceof Job.JobRefused) return yield* refused(job.message, job.status)
        const running = yield* sandbox.start(job).pipe(Tracing.stage("prepare", attempt), Effect.mapError(lost("host")))
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
        const failure = verdict(derivationPath, ended.exit, {
          memoryBytes: lease.memoryBytes,
          network: hasNetwork(derivation),
          withoutNetwork: running.withoutNetwork
        })
        if (failure !== null) return yield* new BuildFailed({ failure, usage: ended.usage })

        const importing = importOutputs({ derivationPath, derivation, planned, closure, read: running.output }).pipe(
          Effect.provideService(OutputStore, outputs),
          Effect.tap((imported) => nars.commit(imported.map(({ nar }) => nar))),
          Effect.map((imported) => imported.map((output) => built(assignment, output))),
          Effect.provideService(Scope.Scope, scope),
          Effect.catchTags({
            OutputRefused: ({ detail, status }) =>
              Effect.fail(new BuildFailed({ failure: { status, outcome: "refused", message: detail } })),
            SandboxError: (error) => Effect.fail(lost("sandbox")(error)),
            StorageError: (error) => Effect.fail(lost("service")(error))
          })
        )
        return { usage: ended.usage, importOutputs: importing }
      })

      return {
        hosts: [host],
        kindOf: (system) => {
          const { backend, versions } = kindOf(system)
          return { backend, versions, isIsolating: isolating.includes(backend) }
        },
        epoch: sandbox.epoch,
        run
      }
    })
  )

const follow = Effect.fnUntraced(function* (running: Running, log: (bytes: Uint8Array) => Effect.Effect<void>) {
  yield* Stream.runForEach(running.log, log)
  return yield* running.ended
})

const lost = (fault: BuilderLost["fault"]) => (error: SandboxError | StorageError) =>
  new BuilderLost({ fault, detail: error.message, cause: error })

const refused = (message: string, status: FailureStatus = "InputRejected") =>
  new BuildFailed({ failure: { status, outcome: "failed", message } })

const built = ({ derivationPath }: Assignment, output: ImportedOutput): BuiltOutput => {
  const { contentAddress, name, nar, path, references } = output
  return {
    name,
    assured: contentAddress !== "",
    info: new PathInfo({
      path,
      deriver: derivationPath,
      narHash: nar.narHash,
      narSize: nar.narSize,
      references,
      registrationTime: 0,
      ultimate: true,
      signatures: [],
      contentAddress
    })
  }
}
