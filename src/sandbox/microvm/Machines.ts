/**
 * How this host makes a machine: everything that is the same for all of them, and what each is given of its own.
 *
 * A machine's own are a user id, a directory with the block server's socket, and a scratch disk without a name. The
 * directory and the id are given to the next only once the machine is gone for certain.
 */
import { Duration, Effect, type Scope } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Job } from "../Job.ts"
import { BlockServer, type Served } from "../block/BlockServer.ts"
import * as Network from "../network/Network.ts"
import * as Launcher from "../process/Launcher.ts"
import { SubUids } from "../process/SubUids.ts"
import { SandboxError } from "../SandboxError.ts"
import * as SystemCalls from "../SystemCalls.ts"
import type { Guest } from "./Guest.ts"
import * as Jail from "./Jail.ts"
import * as Life from "./Life.ts"
import * as MicroVm from "./MicroVm.ts"
import * as Qemu from "./Qemu.ts"
import * as Scratch from "./Scratch.ts"

export interface Options {
  readonly dataDirectory: string
  /** Told by the starter. */
  readonly userNamespaceFd: number
  readonly subUids: { readonly first: number; readonly count: number }
  /** Where the launcher is. */
  readonly programDirectory: string
  /** Of each scratch disk. */
  readonly scratchBytes?: number | undefined
  readonly networks: Network.Options
}

/** What decides a machine, of whatever it is that it builds. */
export interface Shape {
  readonly guest: Guest
  readonly accelerator: Qemu.Accelerator
  readonly cores: number
  /** What the build itself may use. */
  readonly memoryBytes: number
}

export interface Order extends Shape {
  /** What it begins as a copy of: the state of a template of its shape. Without one it boots. */
  readonly stateFd?: number
  readonly inputs: Job["inputs"]
  /** Whether its build may have the network. */
  readonly network: boolean
  /** Where QEMU is in the jail, if it is not this host's. */
  readonly qemu?: string
}

export interface Machine extends MicroVm.MicroVm {
  /** Which of its inputs it has read so far, and how much of them. */
  readonly inputsRead: Served["readLog"]
  /** Null if its build may not have one; a string, if it may, says why it has none. */
  readonly network: Network.Opened | string | null
}

/** One that others are to be copies of. */
export interface Template extends MicroVm.MicroVm {
  /** What its jail has in `places.run`. */
  readonly directory: string
}

/** For the guest's kernel and its executor, beside what the build may use. */
export const guestBytes = 128 * 2 ** 20

/** What a machine takes beyond what its build may use. */
export const overheadBytes = (accelerator: Qemu.Accelerator) => guestBytes + Qemu.overheadBytes[accelerator]

export const make = Effect.fnUntraced(function* (options: Options) {
  const {
    dataDirectory,
    networks,
    programDirectory,
    scratchBytes = Scratch.scratchBytesDefault,
    subUids,
    userNamespaceFd
  } = options
  const blocks = yield* BlockServer
  const launcher = path.join(programDirectory, "launcher")
  const programs = { launcher, executor: path.join(programDirectory, "executor") }
  const bubblewrap = yield* found("bwrap")
  const filter = SystemCalls.filter(process.arch, "machine")
  if (filter === null) return yield* failed(`there is no jail on ${process.arch}`)
  const mkfs = yield* found("mkfs.ext4")
  const directory = path.join(dataDirectory, "vms")
  const ids = new SubUids(subUids.count)

  const counterKilohertz = yield* Launcher.counterKilohertz(programs)

  /** An id of the machine's own, and a directory that is named after it. */
  const reserve = Effect.gen(function* () {
    let isGone = true
    // The id goes back last, when the directory that is named after it is gone as well.
    const { executor: id } = yield* Effect.acquireRelease(take(ids), (pair) =>
      Effect.sync(() => void (isGone && ids.give(pair)))
    )
    const place = path.join(directory, `${id}`)
    yield* Effect.acquireRelease(
      Effect.try({ try: () => fs.mkdirSync(place, { mode: 0o711 }), catch: (cause) => failed(String(cause)) }),
      () => Effect.sync(() => fs.rmSync(place, { recursive: true, force: true }))
    )
    const become = (value: boolean) => Effect.sync(() => void (isGone = value))
    return { id, place, isThere: become(false), onGone: become(true) }
  })

  /** Starts QEMU in its jail. */
  const launch = Effect.fnUntraced(function* (
    { id, isThere, onGone, place }: Effect.Success<typeof reserve>,
    { accelerator, cores, guest, memoryBytes, qemu }: Shape & { readonly qemu?: string },
    more: {
      readonly origin: Qemu.Origin
      readonly scratchFd: MicroVm.Options["scratchFd"]
      readonly stateFd: number | null
      readonly port: number | null
    }
  ) {
    const { origin, port, scratchFd, stateFd } = more
    const program = qemu ?? (yield* found(Qemu.programs[guest.arch]))
    const machine: Qemu.Machine = {
      architecture: guest.arch,
      accelerator,
      cores,
      memoryBytes: memoryBytes + guestBytes,
      hasNetwork: port !== null,
      origin,
      scratchBytes,
      counterKilohertz,
      commandLine: guest.commandLine
    }
    const contents: Jail.Contents = {
      id,
      directories: [
        { source: guest.directory, target: Qemu.places.guest },
        { source: place, target: Qemu.places.run }
      ],
      devices: accelerator === "kvm" ? ["/dev/kvm"] : [],
      keepsGroups: accelerator === "kvm",
      network: stateFd === null ? port : "given",
      filterFd: Qemu.descriptors.filter
    }
    yield* isThere
    return yield* MicroVm.open({
      launcher,
      words: Jail.words(bubblewrap, contents, program, Qemu.words(machine)),
      accelerator,
      filter,
      userNamespaceFd,
      scratchFd,
      stateFd,
      sweep: Launcher.sweep(programs, { first: subUids.first + id - 1, count: 1 }),
      onGone
    })
  })

  const open = Effect.fnUntraced(function* (order: Order): Effect.fn.Return<Machine, SandboxError, Scope.Scope> {
    const { accelerator, stateFd = null } = order
    const reserved = yield* reserve
    const { place } = reserved
    const seconds = Life.table.Preparing.within?.[accelerator] ?? Infinity
    // Both disks at once: neither needs the other.
    const preparing = Effect.all(
      {
        disk: blocks.serve(order.inputs, path.join(place, Qemu.storeSocket)),
        scratchFd: Scratch.make(mkfs, path.join(place, "scratch"), scratchBytes)
      },
      { concurrency: "unbounded" }
    ).pipe(
      Effect.timeoutOrElse({
        duration: Duration.seconds(seconds),
        orElse: () => Effect.fail(failed(`it has been ${Life.table.Preparing.name} for more than ${seconds} s`))
      })
    )
    const openNetwork = Network.openOrSay(networks, { ids, first: subUids.first, programs }, "machine")
    const { network, prepared } = yield* Effect.all(
      { network: order.network ? openNetwork : Effect.succeed(null), prepared: preparing },
      { concurrency: "unbounded" }
    )
    const { disk, scratchFd } = prepared
    const port = Network.isOpen(network) ? network.process : null
    const origin = stateFd === null ? "booted" : "copy"
    const vm = yield* launch(reserved, order, { origin, scratchFd, stateFd, port })
    yield* disk.lost.pipe(
      Effect.catch(({ message }) => vm.lose(message)),
      Effect.forkScoped
    )
    return { ...vm, inputsRead: disk.readLog, network }
  })

  const template = Effect.fnUntraced(function* (shape: Shape): Effect.fn.Return<Template, SandboxError, Scope.Scope> {
    const reserved = yield* reserve
    const nothing = { origin: "template", scratchFd: "ignore", stateFd: null, port: null } as const
    const vm = yield* launch(reserved, shape, nothing)
    return { ...vm, directory: reserved.place }
  })

  yield* Launcher.sweep(programs, subUids)
  yield* Effect.try({
    try: () => {
      fs.rmSync(directory, { recursive: true, force: true })
      fs.mkdirSync(directory, { recursive: true, mode: 0o711 })
    },
    catch: (cause) => failed(`${directory}: ${String(cause)}`)
  })
  return { open, template }
})

const failed = (detail: string) => new SandboxError({ operation: "making a virtual machine", detail })

const take = (ids: SubUids) =>
  Effect.suspend(() => {
    const pair = ids.take()
    return pair instanceof SandboxError ? Effect.fail(pair) : Effect.succeed(pair)
  })

const found = (program: string) =>
  Effect.suspend(() => {
    const file = Jail.locate(program)
    return file instanceof SandboxError ? Effect.fail(file) : Effect.succeed(file)
  })
