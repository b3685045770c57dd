/**
 * The system calls that a program in a jail has no use for, as a filter that the kernel runs.
 *
 *     disks     the process that serves disks: it reads files and open connections, and makes none
 *     machine   QEMU, which connects to its disk and to nothing else: a network of its own does not keep it from sockets
 *               that belong to no network, such as those to whatever the host itself is a machine of
 *
 * Whoever talked either into more would find no way to make a mount or a namespace, to look into another process, or to
 * what of the kernel has had the most holes. What is refused is told as not permitted; `clone3` as not there, whose
 * flags a filter cannot see, so that `clone` is used instead.
 *
 * @see Linux `Documentation/userspace-api/seccomp_filter.rst`
 */

export type Program = "disks" | "machine"

/** By name, on x86_64 and on aarch64. */
type Calls = ReadonlyArray<readonly [name: string, x64: number, arm64: number]>

const connections: Calls = [
  ["socket", 41, 198],
  ["socketpair", 53, 199],
  ["connect", 42, 203]
]

const refused: Calls = [
  ["bind", 49, 200],
  ["listen", 50, 201],
  ["accept", 43, 202],
  ["accept4", 288, 242],
  ["execveat", 322, 281],
  ["ptrace", 101, 117],
  ["process_vm_readv", 310, 270],
  ["process_vm_writev", 311, 271],
  ["pidfd_getfd", 438, 438],
  ["pidfd_open", 434, 434],
  ["mount", 165, 40],
  ["umount2", 166, 39],
  ["pivot_root", 155, 41],
  ["chroot", 161, 51],
  ["open_tree", 428, 428],
  ["move_mount", 429, 429],
  ["fsopen", 430, 430],
  ["fsconfig", 431, 431],
  ["fsmount", 432, 432],
  ["fspick", 433, 433],
  ["mount_setattr", 442, 442],
  ["name_to_handle_at", 303, 264],
  ["open_by_handle_at", 304, 265],
  ["unshare", 272, 97],
  ["setns", 308, 268],
  ["bpf", 321, 280],
  ["perf_event_open", 298, 241],
  ["userfaultfd", 323, 282],
  ["io_uring_setup", 425, 425],
  ["io_uring_enter", 426, 426],
  ["io_uring_register", 427, 427],
  ["add_key", 248, 217],
  ["request_key", 249, 218],
  ["keyctl", 250, 219],
  ["init_module", 175, 105],
  ["finit_module", 313, 273],
  ["delete_module", 176, 106],
  ["kexec_load", 246, 104],
  ["kexec_file_load", 320, 294],
  ["personality", 135, 92],
  ["syslog", 103, 116],
  ["quotactl", 179, 60],
  ["reboot", 169, 142]
]

const socket = { x64: 41, arm64: 198 }
/** The only kind of socket that belongs to a directory, and so to a jail. */
const unixDomain = 1

const clone = { x64: 56, arm64: 220 }
const clone3 = 435
const architectures = { x64: 0xc000_003e, arm64: 0xc000_00b7 }

/** Those of `clone`'s flags that make a namespace. */
const namespaceFlags = 0x7e02_0000

/** Numbers of x86_64 from here on are the same calls under another name. */
const x32Bit = 0x4000_0000

// Codes of the classic packet filter, and what it may answer.
const [load, jumpEqual, jumpAtLeast, jumpAnyBit, answer] = [0x20, 0x15, 0x35, 0x45, 0x06]
const allow = 0x7fff_0000
const kill = 0x8000_0000
const errno = (number: number) => 0x0005_0000 | number
const [notPermitted, notThere] = [errno(1), errno(38)]

/** Where the call's number, its architecture and its first argument are in what the filter sees. */
const at = { number: 0, architecture: 4, argument: 16 }

type Step = readonly [code: number, ifTrue: number, ifFalse: number, value: number]

/** Answers if the test holds, else goes on. */
const when = (code: number, value: number, then: number): ReadonlyArray<Step> => [
  [code, 0, 1, value],
  [answer, 0, 0, then]
]

/** Of that call, which is refused but for one domain; for any other, goes on. */
const unixAlone = (number: number): ReadonlyArray<Step> => [
  [jumpEqual, 0, 4, number],
  [load, 0, 0, at.argument],
  ...when(jumpEqual, unixDomain, allow),
  [answer, 0, 0, notPermitted]
]

/** Null where it is not known for the machine, as Node names it. */
export const filter = (machine: string, program: Program): Uint8Array | null => {
  if (machine !== "x64" && machine !== "arm64") return null
  const all = program === "disks" ? [...connections, ...refused] : refused
  const steps: ReadonlyArray<Step> = [
    [load, 0, 0, at.architecture],
    [jumpEqual, 1, 0, architectures[machine]],
    [answer, 0, 0, kill],
    [load, 0, 0, at.number],
    ...when(jumpAtLeast, x32Bit, kill),
    ...all.flatMap(([, x64, arm64]) => when(jumpEqual, machine === "x64" ? x64 : arm64, notPermitted)),
    ...when(jumpEqual, clone3, notThere),
    ...(program === "disks" ? [] : unixAlone(socket[machine])),
    // Any other call is over with here.
    [jumpEqual, 1, 0, clone[machine]],
    [answer, 0, 0, allow],
    [load, 0, 0, at.argument],
    ...when(jumpAnyBit, namespaceFlags, notPermitted),
    [answer, 0, 0, allow]
  ]
  const bytes = Buffer.alloc(8 * steps.length)
  steps.forEach(([code, ifTrue, ifFalse, value], index) => {
    bytes.writeUInt16LE(code, 8 * index)
    bytes.writeUInt8(ifTrue, 8 * index + 2)
    bytes.writeUInt8(ifFalse, 8 * index + 3)
    bytes.writeUInt32LE(value, 8 * index + 4)
  })
  return bytes
}
