/**
 * The `kvm` and `emulated` backends: a virtual machine for every build, with the executor as its first process.
 *
 * A machine has a kernel and a memory of its own, a disk with its build's closure and no more, one to write to, and one
 * channel. It is made for one build and never used for a second. What runs outside of the guest, QEMU, is taken to be as
 * hostile as what runs in it: see Jail.ts.
 *
 * When it starts, whatever an earlier server left is ended and removed, and it is settled for good on which of the two
 * the builds of a system run: see Probe.ts.
 */
import { Clock, Effect, Exit, Layer, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { execFileSync } from "node:child_process"
import * as path from "node:path"
import { noUsage } from "../../domain/Attempt.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import * as Source from "../../protocol/wire/Source.ts"
import { type BlockServer } from "../block/BlockServer.ts"
import * as Ending from "../executor/Ending.ts"
import * as Frame from "../executor/Frame.ts"
import * as Run from "../executor/Run.ts"
import type { Job } from "../Job.ts"
import * as Tracing from "../../telemetry/Tracing.ts"
import { epoch, type Kind, type Running, Sandbox } from "../Sandbox.ts"
import { SandboxError } from "../SandboxError.ts"
import * as Copies from "./Copies.ts"
import * as Guest from "./Guest.ts"
import * as Jail from "./Jail.ts"
import * as Machines from "./Machines.ts"
import type { MicroVm } from "./MicroVm.ts"
import * as Network from "../network/Network.ts"
import * as Probe from "./Probe.ts"
import * as Qemu from "./Qemu.ts"
import * as Systems from "./Systems.ts"

/** `auto`: kvm where it runs, else emulated. */
export type Choice = "auto" | "kvm" | "emulated"

export interface Options extends Pick<Network.Circumstances, "egressAllow" | "network"> {
  readonly dataDirectory: string
  readonly choice: Choice
  /** The operator's choice; null for everything that there is a guest for. */
  readonly systems: ReadonlyArray<string> | null
  /** Told by the starter; without them there is no sandbox. */
  readonly userNamespaceFd: number | null
  readonly subUids: { readonly first: number; readonly count: number } | null
  /** Where the launcher is, and the guests are. */
  readonly programDirectory?: string
  /** Of each scratch disk, where it is not the usual. */
  readonly scratchBytes?: number
  /** Whether machines begin as copies; without it, each boots. */
  readonly templates?: Pick<Copies.Options, "sharing" | "keptBackBytes">
}

const backends = { kvm: "kvm", tcg: "emulated" } as const

/** What the smallest of machines gets that shall only boot. */
const proof = { cores: 1, memoryBytes: 256 * 2 ** 20, inputs: [], network: false }

interface Made extends Kind {
  readonly guest: Guest.Guest
  readonly accelerator: Qemu.Accelerator
}

const refused = (detail: string) => new SandboxError({ operation: "starting virtual machines", detail })

export const layer = (options: Options): Layer.Layer<Sandbox, SandboxError, BlockServer | SecureRandom.SecureRandom> =>
  Layer.effect(Sandbox, make(options))

const make = Effect.fnUntraced(function* (options: Options) {
  const { dataDirectory, subUids, userNamespaceFd } = options
  if (userNamespaceFd === null || subUids === null) {
    return yield* refused("no user namespace was given: the server has to be started by build/starter")
  }
  const native = Systems.nativeTo(process.arch)
  if (native === null) return yield* refused(`there are none for a machine of the kind ${process.arch}`)
  const strange = options.systems?.find((system) => !Systems.all.includes(system))
  if (strange !== undefined) {
    return yield* refused(`expected systems out of ${Systems.all.join(", ")}, found ${strange}`)
  }
  const programDirectory = options.programDirectory ?? path.resolve(import.meta.dirname, "../../../build")
  const networks = Network.options({ ...options, userNamespaceFd }, programDirectory)
  const machines = yield* Machines.make({
    dataDirectory,
    networks,
    programDirectory,
    scratchBytes: options.scratchBytes,
    subUids,
    userNamespaceFd
  })
  const random = yield* SecureRandom.SecureRandom
  const copies = yield* Copies.make({
    ...(options.templates ?? { sharing: "off", keptBackBytes: 0 }),
    template: machines.template,
    awaitBooted: (vm) => awaitFrame("Booted", vm)
  })

  const boot = (guest: Guest.Guest, accelerator: Qemu.Accelerator) =>
    Effect.scoped(
      Effect.flatMap(machines.open({ guest, accelerator, ...proof }), (vm) =>
        Effect.gen(function* () {
          yield* awaitFrame("Booted", vm)
          yield* Effect.forEach(yield* greeting(vm, random), vm.channel.write, { discard: true })
          yield* awaitFrame("Ready", vm)
        })
      )
    )

  /** A kind of machine that has been seen to run; null if there is no wish or no guest for it. */
  const found = Effect.fnUntraced(function* (architecture: Qemu.Architecture) {
    const isNative = architecture === native
    const systemsOn = (isEmulated: boolean) =>
      Systems.offered(architecture, { isEmulated, isNative, chosen: options.systems })
    const guest = yield* Guest.find(path.join(programDirectory, "guest", architecture))
    if (systemsOn(true).length === 0) return null
    if (guest === null) {
      return isNative ? yield* refused(`no guest has been made for ${architecture}; npm start makes one`) : null
    }
    const qemuVersion = yield* versionOf(architecture)
    const probe = (accelerator: Qemu.Accelerator) =>
      Probe.probe(
        { architecture, accelerator, guestHash: guest.hash, qemuVersion },
        dataDirectory,
        boot(guest, accelerator)
      )
    const accelerator = yield* isNative ? chosen(options.choice, probe("kvm")) : Effect.succeed("tcg" as const)
    const { trouble } = yield* probe(accelerator)
    if (trouble !== null && isNative) return yield* refused(trouble)
    if (trouble !== null) {
      yield* Effect.logWarning("machines of another kind do not run, and are not offered", { architecture, trouble })
      return null
    }
    const made: Made = {
      guest,
      accelerator,
      backend: backends[accelerator],
      systems: systemsOn(accelerator === "tcg"),
      overheadBytes: Machines.overheadBytes(accelerator),
      versions: { executor: `${Frame.version}`, guest: guest.hash, kernel: guest.kernelVersion, qemu: qemuVersion }
    }
    return made
  })

  const wanted = [native, ...Systems.architectures.filter((architecture) => architecture !== native)]
  const [first, ...others] = (yield* Effect.forEach(wanted, found, { concurrency: "unbounded" })).filter(
    (made) => made !== null
  )
  if (first === undefined) return yield* refused("no system is left to be offered")
  const kinds = [first, ...others] as const
  yield* Effect.forEach(kinds, ({ backend, systems, versions }) =>
    Effect.logInfo("a virtual machine for every build", { sandbox: backend, systems: systems.join(","), ...versions })
  )

  const start = Effect.fn("MicroVmSandbox.start")(function* (
    job: Job
  ): Effect.fn.Return<Running, SandboxError, Scope.Scope> {
    const kind = kinds.find(({ systems }) => systems.includes(job.system))
    if (kind === undefined) return yield* refused(`there is none for ${job.system}`)
    const { accelerator, guest } = kind
    const { account, cores, inputs, memoryBytes, network } = job
    const shape = { guest, accelerator, cores, memoryBytes }
    // Its network's card is one device more than a template has.
    const lent = network ? null : yield* copies.take({ ...shape, account })
    if (lent !== null) {
      const restored = yield* restore({ ...shape, inputs, network, stateFd: lent.stateFd }, job, lent)
      if (restored !== null) return restored
    }
    const vm = yield* machines.open({ ...shape, inputs, network })
    // Without a network it still knows at least its own name.
    const told = network
      ? { ...job, network: Network.isOpen(vm.network), etc: [...job.etc, ...Network.files(networks)] }
      : job
    const running = yield* run(vm, told, random).pipe(Tracing.machineStart("booted", job.attempt))
    return { ...running, withoutNetwork: typeof vm.network === "string" ? vm.network : null }
  })

  /** Null where the copy does not come to run, and is gone: nothing of the build has been told to anybody. */
  const restore = Effect.fnUntraced(function* (order: Machines.Order, job: Job, lent: Copies.Lent) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const vm = yield* Scope.provide(machines.open(order), scope)
    const running = yield* run(vm, job, random, { isCopy: true }).pipe(
      Tracing.machineStart("restored", job.attempt),
      Effect.catch((error) => Effect.as(lent.refuse(error.message), null))
    )
    if (running === null) yield* Scope.close(scope, Exit.void)
    return running
  })

  return { kinds, epoch, start }
})

/** What native builds run on, and why not on KVM if they do not. */
const chosen = Effect.fnUntraced(function* (choice: Choice, kvm: Effect.Effect<Probe.Verdict, SandboxError>) {
  if (choice === "emulated") return "tcg" as const
  const { trouble } = yield* kvm
  if (trouble === null) return "kvm" as const
  if (choice === "kvm") return yield* refused(`KVM cannot be used: ${trouble}`)
  yield* Effect.logWarning(
    "KVM cannot be used, so machines are emulated, which is some fifteen times slower; --sandbox process is fast and isolates less",
    { reason: trouble }
  )
  return "tcg" as const
})

const versionOf = (architecture: Qemu.Architecture) =>
  Effect.gen(function* () {
    const program = Jail.locate(Qemu.programs[architecture])
    if (program instanceof SandboxError) return yield* program
    const said = yield* Effect.try({
      try: () => execFileSync(program, ["--version"], { encoding: "utf8", env: {} }),
      catch: (cause) => refused(`${program}: ${String(cause)}`)
    })
    return /version (\S+)/.exec(said)?.[1] ?? "unknown"
  })

/** Until the executor says so. */
const awaitFrame = Effect.fnUntraced(function* (tag: "Booted" | "Ready", vm: MicroVm) {
  const frame = yield* Effect.gen(function* () {
    const header = Frame.header(yield* Source.take(vm.channel.input, Frame.headerBytes))
    if (header instanceof WireError) return header
    return Frame.decode(header, yield* Source.take(vm.channel.input, header.length), 0)
  }).pipe(Effect.catch((error) => Effect.flatMap(vm.explain, (detail) => refused(detail ?? error.message))))
  if (frame instanceof WireError) return yield* refused(frame.message)
  if (frame._tag === "Failed") return yield* refused(frame.detail)
  if (frame._tag !== tag) return yield* refused(`its executor says ${frame._tag} instead of ${tag}`)
})

/** Chance before anything else: copies of one machine would go on to draw the same numbers. */
const greeting = (vm: Pick<Machines.Machine, "network">, random: SecureRandom.SecureRandom["Service"]) =>
  Effect.gen(function* () {
    const chance = yield* random.randomBytes(Frame.seedBytes)
    const milliseconds = yield* Clock.currentTimeMillis
    const words = Network.isOpen(vm.network) ? vm.network.words : []
    return [Frame.seed(chance), Frame.clock(BigInt(milliseconds) * 1_000_000n), Frame.network(words)]
  })

export const run = (
  vm: Pick<Machines.Machine, "inputsRead" | "network"> & MicroVm,
  job: Job,
  random: SecureRandom.SecureRandom["Service"],
  { isCopy = false } = {}
) =>
  Effect.gen(function* () {
    const running = yield* Run.start(vm.channel, job, {
      greeting: greeting(vm, random),
      isCopy,
      onReady: vm.reach("Ready"),
      judge: Effect.fnUntraced(function* (exited: Frame.Exited) {
        // A disk that cannot be read any more is no fault of the builder that failed by it.
        yield* vm.settle
        yield* vm.reach("Collecting")
        return {
          exit: Ending.exitOf(exited, { oomKills: exited.oomKills, machineKilled: false }),
          usage: {
            ...noUsage,
            cpuUserMicroseconds: exited.cpuUserMicroseconds,
            cpuSystemMicroseconds: exited.cpuSystemMicroseconds,
            memoryPeakBytes: exited.memoryPeakBytes ?? exited.residentBytesMax,
            memoryHeldBytes: exited.residentBytesMax
          }
        }
      }),
      inputsRead: vm.inputsRead,
      lost: (error) =>
        Effect.flatMap(vm.explain, (detail) =>
          Effect.fail(
            detail === null
              ? error
              : new SandboxError({ operation: "running the virtual machine", detail, cause: error })
          )
        )
    })
    yield* vm.reach("Running")
    return running
  })
