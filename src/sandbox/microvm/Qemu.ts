/**
 * QEMU's command line, as data: a machine of a few cores and some memory, with what a build needs and nothing else.
 *
 *     virtio-serial   the channel to the executor, a port named `drover.0`
 *     virtio-blk      `store`: the closure, read-only, from the block server
 *     virtio-blk      `scratch`: what the build may write
 *     serial          the kernel's last words
 *
 *     virtio-net      for a build that may have the network: its wire, and nothing of the host's
 *
 * Paths are those of the jail that it runs in; what only this machine may have comes as open
 * descriptors, so that there is nothing by that name for anybody else to find.
 */

/** Of the guest. */
export type Architecture = "x86_64" | "aarch64"

export type Accelerator = "kvm" | "tcg"

/** What QEMU calls the guest's memory, in the state of a machine. */
export const memoryNames: { readonly [A in Architecture]: string } = { x86_64: "pc.ram", aarch64: "mach-virt.ram" }

/** Name of the socket in the run directory to which a template is copied. */
export const copySocket = "copy.sock"

/** Where the jail has the guest's kernel and initramfs, and the block server's socket. */
export const places = { guest: "/guest", run: "/run" } as const

/** Name of the block server's socket in the run directory. */
export const storeSocket = "store.sock"

/**
 * The descriptors that it inherits. The filter of system calls is gone by then; the network is there for a machine that
 * has one, the state for one that is a copy, which has no network; they have to be the last. See Jail.ts.
 */
export const descriptors = { scratch: 4, channel: 5, monitor: 6, filter: 7, network: 8, state: 8 } as const

/**
 * How a machine comes to be. `booted`: by its kernel, for a build. `template`: likewise, to be copied before it has done
 * anything: it has disks of the same kind in which there is nothing. `copy`: out of the state of a template.
 */
export type Origin = "booted" | "template" | "copy"

export interface Machine {
  readonly architecture: Architecture
  readonly accelerator: Accelerator
  readonly cores: number
  readonly memoryBytes: number
  readonly hasNetwork: boolean
  readonly origin: Origin
  /** Of the scratch disk. */
  readonly scratchBytes: number
  /** Of the host's counter of time, which an emulated x86 finds as its own; 0 where it is not known. */
  readonly counterKilohertz: number
  /** Of the guest's kernel. */
  readonly commandLine: string
}

export const programs: { readonly [A in Architecture]: string } = {
  x86_64: "qemu-system-x86_64",
  aarch64: "qemu-system-aarch64"
}

/**
 * What of a machine depends on its kind. With `max`, an emulated Arm spends most of its time on pointer authentication.
 * An x86 that says that it moves strings fast has a kernel and programs that move them byte by byte, of which emulation
 * makes a loop: without, copying takes a fifth of the time, and a boot a tenth less.
 */
const kinds: { readonly [A in Architecture]: { readonly [B in Accelerator]: ReadonlyArray<string> } } = {
  x86_64: {
    kvm: ["-machine", "q35,sata=off,smbus=off,accel=kvm", "-cpu", "host", "-bios", "qboot.rom"],
    tcg: ["-machine", "q35,sata=off,smbus=off", "-cpu", "max,-erms,-fsrm", "-bios", "qboot.rom"]
  },
  aarch64: {
    kvm: ["-machine", "virt,gic-version=max,accel=kvm", "-cpu", "host"],
    tcg: ["-machine", "virt,gic-version=3", "-cpu", "cortex-a57"]
  }
}

/** Emulated code that is kept. Half of it doubles the time of a compilation, and more of it buys nothing. */
const translatedMebibytes = 256

/** Memory of QEMU's own, beside the guest's. */
export const overheadBytes: { readonly [A in Accelerator]: number } = {
  kvm: 100 * 2 ** 20,
  tcg: 512 * 2 ** 20
}

const deny = ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"].map((group) => `${group}=deny`)

const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)}M`

/** Told how fast its counter goes, a guest need not measure it: see executor/launcher/ticks.h. By KVM it is told anyway. */
const clockWords = ({ accelerator, architecture, counterKilohertz }: Machine): ReadonlyArray<string> =>
  architecture === "x86_64" && accelerator === "tcg" && counterKilohertz > 0
    ? [`tsc_early_khz=${counterKilohertz}`]
    : []

/** What follows the program's name. */
export const words = (machine: Machine): ReadonlyArray<string> => {
  const { accelerator, architecture, commandLine, cores, hasNetwork, memoryBytes, origin, scratchBytes } = machine
  return [
    ...["-nodefaults", "-no-user-config", "-no-reboot"],
    ...["-display", "none"],
    ...["-sandbox", ["on", ...deny].join(",")],
    ...kinds[architecture][accelerator],
    // Whether somebody else has the same page could be measured.
    ...["-machine", "mem-merge=off,dump-guest-core=off"],
    ...(accelerator === "tcg" ? ["-accel", `tcg,thread=multi,tb-size=${translatedMebibytes}`] : []),
    ...["-m", mebibytes(memoryBytes)],
    ...["-smp", `${cores}`],
    ...["-kernel", `${places.guest}/kernel`],
    ...["-initrd", `${places.guest}/initramfs.cpio`],
    ...["-append", [commandLine, ...clockWords(machine)].join(" ")],
    // Standard output alone is a pipe; nothing is ever read.
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-chardev", `socket,id=monitor,fd=${descriptors.monitor}`, "-mon", "chardev=monitor,mode=control"],
    ...["-device", "virtio-serial-pci,disable-legacy=on"],
    ...["-chardev", `socket,id=channel,fd=${descriptors.channel}`],
    ...["-device", "virtserialport,chardev=channel,name=drover.0"],
    ...(origin === "template"
      ? [...disk("store", [...nothing(storeBytesMax), "read-only=on"]), ...disk("scratch", nothing(scratchBytes))]
      : [
          ...disk("store", storeOptions),
          ...["-add-fd", `fd=${descriptors.scratch},set=1`],
          ...disk("scratch", scratchOptions)
        ]),
    ...(hasNetwork ? card : []),
    ...(origin === "copy" ? ["-incoming", `fd:${descriptors.state}`] : [])
  ]
}

/** A template's, as large as EROFS may be: of a copy, whose store is smaller, it is what its kernel takes for the size. */
const storeBytesMax = 2 ** 44

const nothing = (bytes: number) => ["driver=null-co", `size=${bytes}`, "read-zeroes=on"]

const storeOptions = [
  "driver=nbd",
  "server.type=unix",
  `server.path=${places.run}/${storeSocket}`,
  "read-only=on",
  "discard=ignore"
]

/** The format is said, since a build could write another's header; nothing is flushed that ends with the machine. */
const scratchOptions = [
  "driver=raw",
  "cache.direct=off",
  "cache.no-flush=on",
  "discard=unmap",
  "file.driver=file",
  "file.filename=/dev/fdset/1",
  "file.locking=off"
]

/** As long as the port on the host is told to take them; see executor/launcher/rtnetlink.c. */
const packetBytesMax = 65_520

const card = [
  ...["-netdev", `tap,id=network,fd=${descriptors.network},vhost=off`],
  ...["-device", `virtio-net-pci,netdev=network,host_mtu=${packetBytesMax},romfile=,disable-legacy=on`]
]

const disk = (name: string, options: ReadonlyArray<string>) => [
  ...["-blockdev", [`node-name=${name}`, ...options].join(",")],
  ...["-device", `virtio-blk-pci,drive=${name},serial=${name},disable-legacy=on`]
]
