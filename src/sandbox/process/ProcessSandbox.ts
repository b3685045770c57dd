/**
 * The `process` backend: the executor as a process of this host, in namespaces of its own, at native speed.
 *
 * What keeps builds apart are namespaces, system call filters and user ids, which is less than a machine of their own.
 * Inputs are unpacked trees, bound into the sandbox; each attempt has a scratch directory, a control group and two
 * user ids to itself, and gives them back once all that ran in it is gone.
 *
 * When it starts, whatever an earlier server left is ended and removed, and an empty build is run, so that a machine
 * on which none can be run says so at once, and where it fails.
 */
import { Effect, Layer, Stream } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { AttemptId, noUsage } from "../../domain/Attempt.ts"
import type { IpPrefix } from "../../domain/IpPrefix.ts"
import { StorePath } from "../../protocol/nix/StorePath.ts"
import { ClosureSource } from "../ClosureSource.ts"
import { make as makeChannel } from "../executor/DuplexChannel.ts"
import * as Ending from "../executor/Ending.ts"
import * as Frame from "../executor/Frame.ts"
import * as Run from "../executor/Run.ts"
import { type Job, processesMax } from "../Job.ts"
import * as Network from "../network/Network.ts"
import { epoch, type Kind, Sandbox } from "../Sandbox.ts"
import { SandboxError } from "../SandboxError.ts"
import * as ControlGroups from "./ControlGroups.ts"
import * as Launcher from "./Launcher.ts"
import { SubUids } from "./SubUids.ts"

export interface Options {
  readonly dataDirectory: string
  /** Told by the starter; without the first two there is no sandbox. */
  readonly userNamespaceFd: number | null
  readonly subUids: { readonly first: number; readonly count: number } | null
  readonly cgroups: ReadonlyArray<ControlGroups.ControlGroup>
  /** Prefixes that builds with a network may reach beyond what anybody may. */
  readonly egressAllow?: ReadonlyArray<IpPrefix>
  /** The operator's choice; everything that the machine runs if there is none. */
  readonly systems?: ReadonlyArray<string> | null
  /** Where the executor, the launcher and a static busybox are. */
  readonly programDirectory?: string
  /** How a build's network is made, where it is to be made otherwise. */
  readonly network?: Partial<Network.Options>
}

/** The executor and the launcher, and the kernel's own for a dozen namespaces. */
const overheadBytes = 16 * 1024 * 1024

/** What each machine runs; `builtin` builders are refused by name, later and with a reason. */
const systems: { readonly [machine: string]: ReadonlyArray<string> } = {
  x64: ["x86_64-linux", "i686-linux", "builtin"],
  arm64: ["aarch64-linux", "builtin"]
}

const offered = (chosen: ReadonlyArray<string> | null = null): ReadonlyArray<string> =>
  (systems[process.arch] ?? []).filter((system) => chosen === null || system === "builtin" || chosen.includes(system))

export const layer = (options: Options): Layer.Layer<Sandbox, SandboxError, ClosureSource> =>
  Layer.effect(Sandbox, make(options))

const make = Effect.fnUntraced(function* (options: Options) {
  const { cgroups, dataDirectory, subUids, userNamespaceFd } = options
  if (userNamespaceFd === null || subUids === null) {
    return yield* new SandboxError({
      operation: "starting the process backend",
      detail: "no user namespace was given: the server has to be started by build/starter"
    })
  }
  if (offered(options.systems).every((system) => system === "builtin")) {
    return yield* new SandboxError({
      operation: "starting the process backend",
      detail: `this machine runs none of the systems ${options.systems?.join(", ")}`
    })
  }
  const closures = yield* ClosureSource
  const programDirectory = options.programDirectory ?? path.resolve(import.meta.dirname, "../../../build")
  const programs = {
    launcher: path.join(programDirectory, "launcher"),
    executor: path.join(programDirectory, "executor")
  }
  const shell = { source: path.join(programDirectory, "busybox"), target: "sh" }
  const scratchDirectory = path.join(dataDirectory, "scratch")
  const ids = new SubUids(subUids.count)
  const networks = Network.options({ ...options, userNamespaceFd }, programDirectory)
  const owners: Network.Owners = { ids, first: subUids.first, programs }

  const start = Effect.fn("ProcessSandbox.start")(function* (job: Job) {
    const trees = yield* closures.trees(job.inputs.map(({ narHash }) => narHash))
    const inputs = job.inputs.map(({ path: input }, index) => ({
      source: trees[index]!,
      target: `root/nix/store/${input}`
    }))
    const group = yield* ControlGroups.make(cgroups, job.attempt, job)
    const killsBefore = yield* ControlGroups.machineOomKills

    const network = job.network ? yield* Network.openOrSay(networks, owners, "process") : null
    const launched = yield* Launcher.launch(programs, {
      userNamespaceFd,
      ids,
      first: subUids.first,
      scratch: path.join(scratchDirectory, job.attempt),
      inputs: [shell, ...inputs],
      network: Network.isOpen(network) ? network.process : null,
      entrances: group.entrances
    })

    const told = job.network
      ? { ...job, network: Network.isOpen(network), etc: [...job.etc, ...Network.files(networks)] }
      : job
    const running = yield* Run.start(makeChannel(launched.channel), told, {
      judge: Effect.fnUntraced(function* (exited: Frame.Exited) {
        const { cpuSystemMicroseconds, cpuUserMicroseconds, memoryHeldBytes, memoryPeakBytes, oomKills } =
          yield* group.counted
        const kills = yield* ControlGroups.machineOomKills
        return {
          exit: Ending.exitOf(exited, { oomKills, machineKilled: kills !== killsBefore }),
          usage: {
            ...noUsage,
            cpuUserMicroseconds: cpuUserMicroseconds ?? exited.cpuUserMicroseconds,
            cpuSystemMicroseconds: cpuSystemMicroseconds ?? exited.cpuSystemMicroseconds,
            memoryPeakBytes: memoryPeakBytes ?? exited.residentBytesMax,
            memoryHeldBytes: Math.max(memoryHeldBytes ?? 0, exited.residentBytesMax)
          }
        }
      }),
      lost: Effect.fnUntraced(function* (error: SandboxError) {
        const { oomKills, ...used } = yield* group.counted
        // The executor is within the limit as well, and may be the one that the kernel takes.
        if (oomKills !== null && oomKills > 0) {
          return { exit: { _tag: "OutOfMemory", certain: true }, usage: { ...noUsage, ...used } } as const
        }
        const complaint = yield* launched.complaint
        return yield* complaint === ""
          ? error
          : new SandboxError({ operation: "running the sandbox", detail: complaint, cause: error })
      })
    })
    return { ...running, withoutNetwork: typeof network === "string" ? network : null }
  })

  yield* Launcher.sweep(programs, subUids)
  yield* Effect.flatMap(leftOver(scratchDirectory), (names) => Launcher.remove(programs, userNamespaceFd, names))
  yield* Effect.scoped(prove(start))
  if (!ControlGroups.has(cgroups, "memory")) {
    yield* Effect.logWarning(
      "no limit of memory for builds: no control group was given; a suspected lack is tried again"
    )
  }
  const kind: Kind = {
    backend: "process",
    systems: offered(options.systems),
    overheadBytes,
    versions: { executor: `${Frame.version}`, kernel: os.release() }
  }
  return { kinds: [kind] as const, epoch, start }
})

/** Scratch directories of attempts that nobody runs; made ours if there are none yet. */
const leftOver = (directory: string) =>
  Effect.try({
    try: () => {
      fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
      return fs.readdirSync(directory).map((name) => path.join(directory, name))
    },
    catch: (cause) => new SandboxError({ operation: "looking for left-over directories", detail: String(cause), cause })
  })

/** A build of nothing: whatever the machine does not let us do comes to light here. */
const prove = Effect.fnUntraced(function* (start: Sandbox["Service"]["start"]) {
  const running = yield* start({
    attempt: AttemptId.make(`proof.${process.pid}`),
    account: null,
    derivationPath: StorePath.make(`${"0".repeat(32)}-proof.drv`),
    system: "builtin",
    program: Buffer.from("/bin/sh"),
    argv: ["sh", "-c", ":"].map((word) => Buffer.from(word)),
    environment: [],
    files: [],
    etc: [],
    inputs: [],
    outputs: [],
    network: false,
    linux32: false,
    kvm: false,
    hostname: "localhost",
    cores: 1,
    memoryBytes: 256 * 1024 * 1024,
    processesMax
  })
  yield* Stream.runDrain(running.log)
  const { exit } = yield* running.ended
  if (exit._tag === "Exited" && exit.status === 0) return
  return yield* new SandboxError({
    operation: "proving the sandbox",
    detail: `expected an end, found ${JSON.stringify(exit)}`
  })
})
