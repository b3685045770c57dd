/** A bare emulated machine with the executor as its first program: no jail, no block server, an empty store. */
import { Effect } from "effect"
import { spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { compose } from "../../src/sandbox/block/Erofs.ts"
import { make } from "../../src/sandbox/executor/DuplexChannel.ts"
import type { Architecture } from "../../src/sandbox/microvm/Qemu.ts"
import { SandboxError } from "../../src/sandbox/SandboxError.ts"
import * as processes from "./processes.ts"

const guests = path.resolve(import.meta.dirname, "../../build/guest")

export const architectures: ReadonlyArray<Architecture> = ["x86_64", "aarch64"]

/** Whether this machine has what another is made of: the set-up says why not. */
export const isThere = (arch: Architecture) =>
  fs.existsSync(path.join(guests, arch, "guest.json")) &&
  spawnSync(`qemu-system-${arch}`, ["--version"], { stdio: "ignore" }).status === 0

export const guest = (arch: Architecture): { readonly kernelVersion: string; readonly commandLine: string } =>
  JSON.parse(fs.readFileSync(path.join(guests, arch, "guest.json"), "utf8"))

const boards: { readonly [A in Architecture]: ReadonlyArray<string> } = {
  x86_64: ["-M", "q35", "-bios", "/usr/share/qemu/qboot.rom", "-cpu", "max"],
  aarch64: ["-M", "virt,gic-version=3", "-cpu", "cortex-a57"]
}

const disk = (serial: string, file: string) => [
  ...["-blockdev", `driver=raw,node-name=${serial},cache.no-flush=on,file.driver=file,file.filename=${file}`],
  ...["-device", `virtio-blk-pci,drive=${serial},serial=${serial},disable-legacy=on`]
]

export interface Wanted {
  readonly memory?: string
  /** Words for the kernel after its own. */
  readonly append?: string
  readonly scratchBytes?: number
}

/** Boots it; gives the channel, the socket behind it, and what becomes of the machine. It ends with the scope at the latest. */
export const boot = Effect.fnUntraced(function* (arch: Architecture, wanted: Wanted = {}) {
  const place = yield* processes.directory
  const store = compose([])
  if (store instanceof SandboxError) return yield* store
  fs.writeFileSync(path.join(place, "store"), store.metadata)
  fs.writeFileSync(path.join(place, "scratch"), "")
  fs.truncateSync(path.join(place, "scratch"), wanted.scratchBytes ?? 2 ** 30)
  const made = spawnSync("/usr/sbin/mkfs.ext4", [
    "-q",
    "-F",
    "-O",
    "^has_journal",
    "-m",
    "0",
    path.join(place, "scratch")
  ])
  if (made.status !== 0) throw new Error(`mkfs.ext4: ${made.stderr}`)

  const server = yield* Effect.acquireRelease(
    Effect.sync(() => net.createServer().listen(path.join(place, "channel"))),
    (server) => Effect.sync(() => server.close())
  )
  const connected = new Promise<net.Socket>((resolve) => server.once("connection", resolve))
  const kernel = path.join(guests, arch)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        `qemu-system-${arch}`,
        [
          ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"],
          ...[...boards[arch], "-accel", "tcg", "-m", wanted.memory ?? "256M"],
          ...["-kernel", path.join(kernel, "kernel"), "-initrd", path.join(kernel, "initramfs.cpio")],
          ...["-append", `${guest(arch).commandLine} ${wanted.append ?? ""}`],
          ...["-device", "virtio-serial-pci,disable-legacy=on"],
          ...["-chardev", `socket,id=channel,path=${path.join(place, "channel")}`],
          ...["-device", "virtserialport,chardev=channel,name=drover.0"],
          ...disk("store", path.join(place, "store")),
          ...disk("scratch", path.join(place, "scratch"))
        ],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let console = ""
  child.stdout.setEncoding("latin1").on("data", (text: string) => {
    console += text
  })
  const gone = new Promise<{ readonly status: number | null; readonly console: string }>((resolve) =>
    child.once("close", (status) => resolve({ status, console }))
  )
  const socket = yield* Effect.promise(() => connected)
  return { channel: make(socket), socket, gone: Effect.promise(() => gone) }
})
