/**
 * Where the milliseconds of a machine's start go, what it takes of memory beyond its guest's own, and how fast an output
 * leaves it: one emulated machine after the other, by the command line of the product, but in no jail.
 *
 *   node bench/boots.ts [--rounds N]
 *
 * Beside each time stands the processor's: on a machine with other work to do, that is the one to compare.
 */
import { Effect, Stream } from "effect"
import { spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { noUsage } from "../src/domain/Attempt.ts"
import { attach } from "../src/sandbox/block/Attachment.ts"
import { Disk } from "../src/sandbox/block/Disk.ts"
import * as Erofs from "../src/sandbox/block/Erofs.ts"
import { NarFiles } from "../src/sandbox/block/NarFiles.ts"
import { make as makeChannel } from "../src/sandbox/executor/DuplexChannel.ts"
import * as Frame from "../src/sandbox/executor/Frame.ts"
import * as Run from "../src/sandbox/executor/Run.ts"
import * as Guest from "../src/sandbox/microvm/Guest.ts"
import * as Qemu from "../src/sandbox/microvm/Qemu.ts"
import { SandboxError } from "../src/sandbox/SandboxError.ts"
import * as sandbox from "../test/support/sandbox.ts"
import * as Figures from "./Figures.ts"
import * as Template from "./Template.ts"

const MiB = 2 ** 20
const memoryBytes = 2 * 1024 * MiB
const outputBytes = 256 * MiB

/**
 * What a builder says first, and what it leaves. The shell reads when it was started, in hundredths of a second. It stays:
 * `dd` alone would have closed its terminal, which is taken for the end.
 */
const script = `read all < /proc/self/stat; echo $all; dd if=/dev/zero of=$out bs=1M count=${outputBytes / MiB} 2>/dev/null; :`

const ticksPerSecond = 100

/** Seconds since the machine was asked for, and the processor's. */
interface Moment {
  readonly at: number
  readonly processor: number
}

interface Measured {
  readonly stages: { readonly [stage: string]: Moment }
  readonly beyondBytes: number
  readonly outputRate: number
  /** Milliseconds of a processor for each MB of an output: QEMU's, its guest included, and this side's. */
  readonly perMegabyte: { readonly qemu: number; readonly here: number }
}

const emptyStore = () => {
  const image = Erofs.compose([])
  if (image instanceof SandboxError) throw image
  return new Disk(image, new NarFiles())
}

const scratchBytes = 8 * 1024 * MiB

const makeScratch = (file: string): number => {
  const fd = fs.openSync(file, "w+")
  fs.ftruncateSync(fd, scratchBytes)
  const made = spawnSync("/usr/sbin/mkfs.ext4", ["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode", file])
  if (made.status !== 0) throw new Error(`mkfs.ext4: ${made.stderr}`)
  return fd
}

/** Of a process: user's and system's. */
const processorSeconds = (pid: number): number => {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** What a process takes of memory, without the mapping that is its guest's. */
const beyondGuest = (pid: number): number => {
  const mappings = fs.readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  const sizes = mappings.map((text) => {
    const field = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0)
    return { size: field("Size"), pss: field("Pss") }
  })
  const guest = sizes.find(({ size }) => size === memoryBytes)
  if (guest === undefined) throw new Error("expected the guest's memory among the mappings of QEMU, found none")
  return sizes.reduce((sum, { pss }) => sum + pss, 0) - guest.pss
}

/** QEMU's, for a machine whose own things are in a directory. */
const wordsFor = (guest: Guest.Guest, origin: Qemu.Origin, place: string) =>
  Qemu.words({
    architecture: guest.arch,
    accelerator: "tcg",
    cores: 1,
    memoryBytes,
    hasNetwork: false,
    origin,
    scratchBytes,
    counterKilohertz,
    commandLine: guest.commandLine
  }).map((word) =>
    word
      .replaceAll(`${Qemu.places.guest}/`, `${guest.directory}/`)
      .replaceAll(Qemu.places.run, place)
      // Only of one with a name does it tell that its port has been opened.
      .replace(/^virtserialport,/, "virtserialport,id=port,")
  )

/** Of one that boots, or begins as a copy of the template in a file. */
const measure = async (guest: Guest.Guest, template: string | null): Promise<Measured> => {
  await using stack = new AsyncDisposableStack()
  const place = fs.mkdtempSync(path.join(os.tmpdir(), "drover-boots-"))
  stack.defer(() => fs.rmSync(place, { recursive: true, force: true }))
  const disk = emptyStore()
  const server = net.createServer((socket) => attach(socket, disk, () => {}))
  stack.defer(() => void server.close())
  await new Promise<void>((resolve) => server.listen(path.join(place, Qemu.storeSocket), resolve))
  const scratch = makeScratch(path.join(place, "scratch"))
  stack.defer(() => fs.closeSync(scratch))

  const words = wordsFor(guest, template === null ? "booted" : "copy", place)
  const state = template === null ? "ignore" : fs.openSync(template, "r")
  stack.defer(() => void (state !== "ignore" && fs.closeSync(state)))
  const begun = performance.now()
  const stages: { [stage: string]: Moment } = {}
  const child = spawn(Qemu.programs[guest.arch], words, {
    stdio: ["ignore", "ignore", "inherit", "ignore", scratch, "pipe", "pipe", "ignore", state]
  })
  const gone = new Promise((resolve) => child.once("close", resolve))
  stack.defer(async () => {
    child.kill("SIGKILL")
    await gone
  })
  const pid = child.pid ?? 0
  const reach = (stage: string) => {
    stages[stage] ??= { at: (performance.now() - begun) / 1000, processor: processorSeconds(pid) }
  }
  // Its type knows of five, and not that a pipe is a socket.
  const pipes: ReadonlyArray<unknown> = child.stdio
  const [channel, monitor] = [pipes[Qemu.descriptors.channel], pipes[Qemu.descriptors.monitor]]
  if (!(channel instanceof net.Socket) || !(monitor instanceof net.Socket)) throw new Error("there are no pipes to it")
  monitor.setEncoding("utf8").on("data", (text: string) => {
    reach("QEMU")
    if (text.includes("VSERPORT_CHANGE")) reach("drivers")
  })
  monitor.write('{"execute":"qmp_capabilities"}\n')

  const run = Effect.gen(function* () {
    const job = { ...sandbox.job({ script, builder: "/bin/sh" }), inputs: [] }
    const running = yield* Run.start(makeChannel(channel), job, {
      greeting: Effect.sync(() => {
        if (template === null) reach("booted")
        const chance = new Uint8Array(Frame.seedBytes)
        return [Frame.seed(chance), Frame.clock(BigInt(Date.now()) * 1_000_000n), Frame.network([])]
      }),
      isCopy: template !== null,
      onReady: Effect.sync(() => reach("mounts")),
      judge: () => Effect.succeed({ exit: { _tag: "Exited", status: 0 }, usage: noUsage }),
      lost: Effect.fail
    })
    let said = ""
    yield* Stream.runForEach(running.log, (bytes) =>
      Effect.sync(() => {
        reach("job")
        said += Buffer.from(bytes).toString()
      })
    )
    const beyondBytes = beyondGuest(pid)
    const source = yield* running.output("out")
    const before = performance.now()
    const qemuBefore = processorSeconds(pid)
    const hereBefore = process.cpuUsage()
    let bytes = 0
    for (;;) {
      const { length } = yield* source.peek
      if (length === 0) break
      bytes += length
      source.advance(length)
    }
    const megabytes = bytes / 1e6
    const { system, user } = process.cpuUsage(hereBefore)
    return {
      said,
      beyondBytes,
      outputRate: megabytes / ((performance.now() - before) / 1000),
      perMegabyte: {
        qemu: ((processorSeconds(pid) - qemuBefore) * 1000) / megabytes,
        here: (user + system) / 1000 / megabytes
      }
    }
  })
  const { said, ...output } = await Effect.runPromise(run)
  const upSeconds = Number(said.split(") ")[1]?.split(" ")[19]) / ticksPerSecond
  if (template !== null) return { stages, ...output }
  const job = stages["job"]
  const drivers = stages["drivers"]
  if (job === undefined || drivers === undefined) throw new Error("a machine did not come to all of its stages")
  // The guest's clock runs from where its kernel has found one.
  const clock = { at: job.at - upSeconds, processor: Math.min(drivers.processor, job.at - upSeconds) }
  return { stages: { ...stages, clock }, ...output }
}

/** In their order, with what is done until each. */
const named = [
  ["QEMU", "QEMU is there"],
  ["clock", "firmware, and the kernel until it has a clock"],
  ["drivers", "the rest of the kernel; its modules"],
  ["booted", "devices found: it has booted"],
  ["mounts", "chance and the time told, disks mounted: it is ready"],
  ["job", "the job told, the sandbox made: the builder's first byte"]
] as const

const namedOfCopies = [
  ["QEMU", "QEMU is there"],
  ["mounts", "the state taken in; chance and the time told, disks mounted: it is ready"],
  ["job", "the job told, the sandbox made: the builder's first byte"]
] as const

const { values } = parseArgs({ options: { rounds: { type: "string", default: "10" } } })
const rounds = Number(values.rounds)
const architecture = process.arch === "arm64" ? "aarch64" : "x86_64"
const programs = path.resolve(import.meta.dirname, "../build")
const counterKilohertz = Number(spawnSync(path.join(programs, "launcher"), ["ticks"]).stdout)
const guest = await Effect.runPromise(Guest.find(path.join(programs, "guest", architecture)))
if (guest === null) throw new Error("there is no guest; npm start makes one")

const shelf = fs.mkdtempSync(path.join(os.tmpdir(), "drover-template-"))
const template = path.join(shelf, "state")
const all: Array<Measured> = []
const copies: Array<Measured> = []
try {
  await Template.make(guest.arch, wordsFor(guest, "template", shelf), template)
  for (let round = -1; round < rounds; round++) {
    const booted = await measure(guest, null)
    const copied = await measure(guest, template)
    // The first is for the files to be in memory.
    if (round < 0) continue
    all.push(booted)
    copies.push(copied)
  }
} finally {
  fs.rmSync(shelf, { recursive: true })
}

const cells = (unit: number, numbers: ReadonlyArray<number>, digits = 0) => {
  const summary = Figures.summarise(numbers)
  return summary === null
    ? ["—", ""]
    : [
        (summary.median * unit).toFixed(digits),
        `${(summary.min * unit).toFixed(digits)}–${(summary.max * unit).toFixed(digits)}`
      ]
}
/** A row for each stage, and one for all of them. */
const rowsOf = (stages: ReadonlyArray<readonly [stage: string, name: string]>, measured: ReadonlyArray<Measured>) => {
  const at = (one: Measured, index: number, kind: keyof Moment) =>
    index < 0 ? 0 : (one.stages[stages[index]?.[0] ?? ""]?.[kind] ?? NaN)
  const column = (index: number, kind: keyof Moment) =>
    measured.map((one) => at(one, index, kind) - at(one, index - 1, kind))
  return [
    ...stages.map(([stage, name], index) => [
      name,
      ...cells(1000, column(index, "at")),
      // When the guest's clock began is known by its own word alone.
      ...(stage === "clock" || stage === "drivers" ? ["", ""] : cells(1000, column(index, "processor")))
    ]),
    [
      "in all",
      ...(["at", "processor"] as const).flatMap((kind) =>
        cells(
          1000,
          measured.map((one) => at(one, stages.length - 1, kind))
        )
      )
    ]
  ]
}
process.stdout.write(
  `${Figures.table([
    [`a machine of ${memoryBytes / MiB} MiB, emulated, ${rounds} rounds`, "ms", "min–max", "of a processor", "min–max"],
    ...rowsOf(named, all)
  ])}\n\n${Figures.table([
    [`a copy of one that has booted, in turn with it`, "ms", "min–max", "of a processor", "min–max"],
    ...rowsOf(namedOfCopies, copies)
  ])}\n\n${Figures.table([
    ["", "median", "min–max", ""],
    [
      "memory of QEMU beyond its guest's, of a copy",
      ...cells(
        1 / MiB,
        copies.map(({ beyondBytes }) => beyondBytes)
      ),
      "MiB"
    ],
    [
      "memory of QEMU beyond its guest's",
      ...cells(
        1 / MiB,
        all.map(({ beyondBytes }) => beyondBytes)
      ),
      "MiB"
    ],
    [
      `an output of ${outputBytes / MiB} MiB, as it leaves`,
      ...cells(
        1,
        all.map(({ outputRate }) => outputRate)
      ),
      "MB/s"
    ],
    ...(["qemu", "here"] as const).map((side) => [
      `of a processor, ${side === "qemu" ? "QEMU" : "this side, which only reads it"}`,
      ...cells(
        1,
        all.map(({ perMegabyte }) => perMegabyte[side]),
        2
      ),
      "ms/MB"
    ])
  ])}\n`
)
