/**
 * What the server prints once it serves: a line for programs, and what people can paste.
 *
 * Everything here works as printed, for whoever may read the client's key: the ssh_config block finds the server as
 * the host `drover`, the machines line needs that block, and the command needs neither, since it brings the block's
 * file along.
 */
import * as path from "node:path"
import * as ListenAddress from "../domain/ListenAddress.ts"
import { clientFiles, type Reach, sshConfig } from "./ClientFiles.ts"

/** A space would end a value, and a percent sign begins what stands for one. */
const encode = (value: string) => value.replace(/[\s%]/g, (character) => encodeURIComponent(character))

/** The one line that programs wait for. */
export const readyLine = ({ dataDir, http, ssh }: Reach): string => {
  const files = clientFiles(dataDir)
  const values = {
    ssh: ListenAddress.print(ssh),
    http: ListenAddress.print(http),
    data: dataDir,
    key: files.key,
    known_hosts: files.knownHosts
  }
  return `drover ready ${Object.entries(values)
    .map(([name, value]) => `${name}=${encode(value)}`)
    .join(" ")}\n`
}

/** Nix asks one machine for so many builds at once; the queue is ours. */
const jobs = 100

/** As in `/etc/nix/machines`: where, systems, key, jobs, speed, features. The key is ssh_config's affair. */
const machine = (systems: string) => `ssh-ng://drover ${systems} - ${jobs} 1 big-parallel,benchmark,ca-derivations`

const quoteForShell = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** A build of nothing but the sandbox's shell, and a new one each time: its result is no news to anybody's cache. */
const expression = (system: string) =>
  `derivation { name = "hello-drover"; system = "${system}"; builder = "/bin/sh"; ` +
  `args = [ "-c" "echo built by Drover; echo hello > $out" ]; allowSubstitutes = false; at = builtins.currentTime; }`

export const buildCommand = (reach: Reach): string => {
  const file = clientFiles(reach.dataDir).sshConfig
  // Nix cuts its SSH options at spaces and knows no quotes, so such a file is given a name without.
  const [before, options] = /\s/.test(file)
    ? [`d=$(mktemp -d) && ln -s ${quoteForShell(path.dirname(file))} "$d/client" && `, `"-F $d/client/ssh_config"`]
    : ["", quoteForShell(`-F ${file}`)]
  const system = reach.systems[0] ?? "x86_64-linux"
  return `${before}NIX_SSHOPTS=${options} nix-build --no-out-link -j0 --builders ${quoteForShell(machine(system))} -E ${quoteForShell(expression(system))}`
}

/** For people, after the line for programs. */
export const welcome = (reach: Reach): string => `
Build something, with nothing set up but Nix and SSH (where a Nix daemon builds for you, do the next two first):

${buildCommand(reach)}

As a builder for everything: in /etc/nix/machines

${machine(reach.systems.join(","))}

and in the ssh_config of root, or of whoever builds, so that SSH knows the host drover

${sshConfig(reach)}
`
