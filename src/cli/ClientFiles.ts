/**
 * The files that bring an SSH client here: its key, the host key it expects, and a configuration that names both.
 *
 * They lie in the data directory, and a client on this machine can use them where they are. Names may hold spaces.
 */
import * as path from "node:path"
import type { ListenAddress } from "../domain/ListenAddress.ts"

/** How the server can be reached. */
export interface Reach {
  readonly dataDir: string
  /** Where it listens, with the ports that it got. */
  readonly ssh: ListenAddress
  readonly http: ListenAddress
  /** As SSH sends it. */
  readonly hostPublicKey: Uint8Array
  /** Those it builds for, its own first. */
  readonly systems: ReadonlyArray<string>
}

/** Where the files are that a client needs. */
export const clientFiles = (dataDir: string) => ({
  key: path.join(dataDir, "client/id_ed25519"),
  knownHosts: path.join(dataDir, "client/known_hosts"),
  sshConfig: path.join(dataDir, "client/ssh_config")
})

/** Where a client of this machine connects: what listens everywhere listens here. */
const clientHost = (host: string) => ({ "0.0.0.0": "127.0.0.1", "::": "::1" })[host] ?? host

/** SSH writes a port only where it is not its own. */
const knownName = (host: string, port: number) => (port === 22 ? host : `[${host}]:${port}`)

export const knownHosts = ({ hostPublicKey, ssh }: Reach): string => {
  const names = [...new Set([clientHost(ssh.host), "localhost"])].map((host) => knownName(host, ssh.port))
  return `${names.join(",")} ssh-ed25519 ${Buffer.from(hostPublicKey).toString("base64")}\n`
}

/** A file's name for ssh_config, where a space ends a value and a percent sign begins a token. */
const quoteForSsh = (file: string) => {
  const escaped = file.replaceAll("%", "%%")
  return /[\s"'\\#]/.test(escaped) ? `"${escaped.replace(/["\\]/g, "\\$&")}"` : escaped
}

export const sshConfig = ({ dataDir, ssh }: Reach): string => {
  const files = clientFiles(dataDir)
  return `Host drover
  HostName ${clientHost(ssh.host)}
  Port ${ssh.port}
  User drover
  IdentityFile ${quoteForSsh(files.key)}
  IdentitiesOnly yes
  UserKnownHostsFile ${quoteForSsh(files.knownHosts)}
  StrictHostKeyChecking yes
`
}
