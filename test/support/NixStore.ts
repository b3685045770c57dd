/**
 * A Nix installation of its own: a directory that commands see as `/nix`, with settings of its own, new at the start.
 *
 * Commands run in a mount namespace whose root is a tmpfs with everything of this machine but `/nix` and what stands
 * in for it. Nothing is mounted where others see it, and a machine without `/nix` does. The namespace is held by a
 * process that waits for the end of its input, so it goes when we do.
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Process from "./Process.ts"

export interface NixStore {
  readonly start: (argv: ReadonlyArray<string>, options?: Process.Options) => Process.Process
  readonly run: (argv: ReadonlyArray<string>, options?: Process.Options) => Promise<Process.Ended>
  readonly must: (argv: ReadonlyArray<string>, options?: Process.Options) => Promise<string>
  /** Ends what runs in it, and removes it. */
  readonly close: () => Promise<void>
}

/** Makes a root of everything of this machine but /nix, enters it, says so, and holds it. */
const enter = `set -e
root=$1 nix=$2 etc=$3
mount -t tmpfs none "$root"
for entry in /*; do
  case $entry in /nix) continue;; esac
  if [ -L "$entry" ]; then cp -P "$entry" "$root$entry"
  elif [ -d "$entry" ]; then mkdir "$root$entry"; mount --rbind "$entry" "$root$entry"; fi
done
mkdir "$root/nix" "$root/.old"
mount --bind "$nix" "$root/nix"
for file in "$etc"/*; do [ ! -f "$file" ] || mount --bind "$file" "$root/etc/\${file##*/}"; done
cd "$root"; pivot_root . .old; umount -l /.old; cd /
echo entered
exec cat`

/** By the machine's name, as Nix calls its systems. */
export const system = `${os.machine()}-linux`

/**
 * `settings` are lines of nix.conf. `etc` are files that stand in for those of this machine's /etc.
 * `environment` is what commands get beside what every shell has.
 */
export const open = async (
  dir: string,
  {
    environment = {},
    etc = {},
    settings = "",
    signal
  }: {
    readonly settings?: string
    readonly etc?: Readonly<Record<string, string>>
    readonly environment?: Readonly<Record<string, string>>
    readonly signal?: AbortSignal | undefined
  } = {}
): Promise<NixStore> => {
  const places = { root: path.join(dir, "root"), nix: path.join(dir, "nix"), etc: path.join(dir, "etc") }
  const conf = path.join(dir, "conf")
  const home = path.join(dir, "home")
  for (const each of [...Object.values(places), conf, home]) mkdirSync(each, { recursive: true })
  // Build users pass through it, and Nix refuses a store that others may write to.
  for (const each of [dir, places.nix]) chmodSync(each, 0o755)
  for (const [name, text] of Object.entries(etc)) writeFileSync(path.join(places.etc, name), text)
  writeFileSync(path.join(conf, "nix.conf"), `experimental-features = nix-command\nsubstituters =\n${settings}\n`)
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(NIX_|XDG_|LC_|SSH_|npm_|DROVER_|OTEL_)/.test(name)
  )
  const env = {
    ...Object.fromEntries(inherited),
    // Debian puts sshd there, and a user's PATH often leaves it out.
    PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
    HOME: home,
    LC_ALL: "C",
    NIX_CONF_DIR: conf,
    ...environment
  }

  const asRoot = process.getuid?.() === 0
  const holder = Process.start(
    [
      "unshare",
      "--mount",
      "--propagation",
      "private",
      ...(asRoot ? [] : ["--map-root-user"]),
      "sh",
      "-c",
      enter,
      "enter",
      places.root,
      places.nix,
      places.etc
    ],
    { env, signal }
  )
  await holder.line(/^entered$/)

  const start: NixStore["start"] = (argv, options) =>
    Process.start(
      [
        "nsenter",
        "--target",
        String(holder.pid),
        "--mount",
        ...(asRoot ? [] : ["--user", "--preserve-credentials"]),
        ...argv
      ],
      { signal, cwd: "/", env, ...options }
    )
  const run: NixStore["run"] = (argv, options) => {
    const process = start(argv, options)
    process.stdin.end()
    return process.ended
  }
  const must: NixStore["must"] = async (argv, options) => {
    const ended = await run(argv, options)
    if (ended.status !== 0) throw new Process.CommandFailed(argv, ended)
    return ended.out.trim()
  }
  const close = async () => {
    holder.stdin.end()
    await holder.ended
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  }
  return { start, run, must, close }
}
