/**
 * Stock Nix that builds a program here, for this machine's own kind of processor or, program by program emulated, for
 * another: the kernel is told by whom programs of that kind are run, in a namespace of its own and nowhere else.
 */
import * as path from "node:path"
import { projectDirectory } from "../support/Drover.ts"
import * as NixStore from "../support/NixStore.ts"
import type * as Process from "../support/Process.ts"
import * as StockNix from "../support/StockNix.ts"

/** Processors, as Nix and the kernel call them. */
export type Architecture = "x86_64" | "aarch64"

export const native = NixStore.system.split("-")[0]

/** How the kernel knows a program by its first bytes. */
const formats: { readonly [A in Architecture]: { readonly magic: string; readonly mask: string } } = {
  x86_64: {
    magic: "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x3e\\x00",
    mask: "\\xff\\xff\\xff\\xff\\xff\\xfe\\xfe\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
  },
  aarch64: {
    magic: "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00",
    mask: "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff"
  }
}

const emulator = (architecture: Architecture) =>
  path.join(projectDirectory, `build/debian/qemu-user-static/usr/bin/qemu-${architecture}-static`)

/**
 * A user namespace in which every id is itself, since Nix changes between them. In it, and so only for what runs in it,
 * the emulator is told to the kernel, which opens it at once: no sandbox needs to have it.
 */
const emulated = `set -e
format=$1; shift
ready=$(mktemp -u); mkfifo $ready
unshare --user sh -ec 'read -r word < $1; shift; exec unshare --mount sh -ec "$@"' sh $ready '
  mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
  printf %s "$0" > /proc/sys/fs/binfmt_misc/register
  exec "$@"' "$format" "$@" &
while [ "$(readlink /proc/$!/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do :; done
echo "0 0 4294967295" > /proc/$!/uid_map; echo "0 0 4294967295" > /proc/$!/gid_map
echo go > $ready; rm $ready
wait $!`

export const open = (dir: string, signal: AbortSignal) =>
  NixStore.open(dir, { etc: StockNix.etc(), settings: StockNix.settings, signal })

/** Runs a command of Nix's for programs of that kind. */
export const run = (
  store: NixStore.NixStore,
  architecture: Architecture,
  argv: ReadonlyArray<string>
): Promise<Process.Ended> => {
  if (architecture === native) return store.run(argv)
  const { magic, mask } = formats[architecture]
  const format = `:${architecture}:M::${magic}:${mask}:${emulator(architecture)}:F`
  const platform = ["--option", "extra-platforms", `${architecture}-linux`]
  return store.run(["sh", "-c", emulated, "sh", format, ...argv, ...platform])
}
