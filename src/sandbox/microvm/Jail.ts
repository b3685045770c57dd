/**
 * The jail that QEMU runs in, as the words that build it: what is in it, and what each layer stops.
 *
 *     launcher        a user id of the machine's own      owns nothing: other machines, the server and its data are
 *                                                         somebody else's
 *     bubblewrap      no capabilities, no new privileges  no way back up through setuid programs
 *                     namespaces of its own               no network, no processes, no mounts but these to see
 *                     read-only system libraries          no keys, no store, no home; nothing to write to
 *     a filter        system calls it has no use for      no socket but in its own directory, no look elsewhere
 *     QEMU            a filter of its own                 no other program is ever started
 *
 * What a guest that has broken out of QEMU can reach is in `Contents`, and in the descriptors that QEMU inherits.
 */
import * as fs from "node:fs"
import { SandboxError } from "../SandboxError.ts"

export interface Contents {
  /** An id of the wide user namespace. */
  readonly id: number
  /** Seen read-only, at these places. Sockets can be connected to. */
  readonly directories: ReadonlyArray<{ readonly source: string; readonly target: string }>
  readonly devices: ReadonlyArray<string>
  /** A device may be the server's only through a group, `kvm` say. */
  readonly keepsGroups: boolean
  readonly environment?: { readonly [name: string]: string }
  /**
   * A process by which the launcher finds the network whose port the program gets as descriptor 8; null for none; `given`
   * if that descriptor is there already, and is to stay.
   */
  readonly network?: number | "given" | null
  /** From which a filter of system calls is read; see SystemCalls.ts. */
  readonly filterFd?: number
}

/** Where a program is looked for: not in a PATH, which is whoever's that called. */
const binaryDirectories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/run/current-system/sw/bin"]

/** Libraries, and what QEMU loads beside them; links as links. */
const libraries = ["/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib64", "/usr/share/qemu", "/usr/share/seabios"]

/** Where the launcher puts what it is told; see executor/launcher/jail.h. */
const launched = (index: number) => `/tmp/${index}`

/** Where the launcher finds the descriptor of the wide user namespace. */
export const namespaceDescriptor = 3

/** The program's path, or that it is missing. */
export const locate = (program: string): string | SandboxError =>
  binaryDirectories.map((directory) => `${directory}/${program}`).find((file) => fs.existsSync(file)) ??
  new SandboxError({ operation: `looking for ${program}`, detail: `it is in none of ${binaryDirectories.join(", ")}` })

/** The machine's libraries as bubblewrap is told them. */
const bindLibraries = (): ReadonlyArray<string> =>
  libraries.flatMap((place) => {
    const status = fs.lstatSync(place, { throwIfNoEntry: false })
    if (status === undefined) return []
    return status.isSymbolicLink() ? ["--symlink", fs.readlinkSync(place), place] : ["--ro-bind", place, place]
  })

/** The launcher's words: a jail with these contents, and the program in it. */
export const words = (
  bubblewrap: string,
  contents: Contents,
  program: string,
  rest: ReadonlyArray<string>
): ReadonlyArray<string> => [
  "jail",
  `${namespaceDescriptor}`,
  `${contents.id}`,
  contents.keepsGroups ? "keep" : "drop",
  `${contents.network ?? "none"}`,
  ...contents.directories.map(({ source }) => source),
  "--",
  bubblewrap,
  ...["--unshare-all", "--die-with-parent", "--new-session"],
  ...["--cap-drop", "ALL", "--clearenv"],
  ...Object.entries(contents.environment ?? {}).flatMap(([name, value]) => ["--setenv", name, value]),
  ...(contents.filterFd === undefined ? [] : ["--seccomp", `${contents.filterFd}`]),
  ...bindLibraries(),
  // Or it is one of theirs.
  ...(contents.directories.some(({ target }) => program.startsWith(`${target}/`))
    ? []
    : ["--ro-bind", program, program]),
  ...["--dir", "/dev"],
  ...["/dev/null", "/dev/urandom", ...contents.devices].flatMap((device) => ["--dev-bind", device, device]),
  ...contents.directories.flatMap(({ target }, index) => ["--ro-bind", launched(index), target]),
  ...["--remount-ro", "/", "--chdir", "/", "--"],
  program,
  ...rest
]
