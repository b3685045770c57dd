/**
 * The remote builder that people have today: OpenSSH's server and Nix as the distribution brings them, with a store
 * of its own, sandboxed builds, and build users as an ordinary installation has.
 *
 * The client logs in as root, so that `nix-daemon --stdio` works on the store itself and nothing lies between: the
 * fastest that stock Nix can be. `MaxStartups` is raised, since by default OpenSSH turns connections away at random
 * once ten are being made.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { projectDirectory, writeSshConfig } from "../test/support/Drover.ts"
import * as NixStore from "../test/support/NixStore.ts"
import * as Process from "../test/support/Process.ts"
import * as StockNix from "../test/support/StockNix.ts"

export interface StockBuilder {
  readonly sshConfig: string
  readonly versions: { readonly nix: string; readonly openssh: string }
  readonly close: () => Promise<void>
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => {
      // A server that listens on a port has an address of this form.
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

const serverConfig = (
  dir: string,
  port: number,
  environment: Readonly<Record<string, string>>
) => `ListenAddress 127.0.0.1
Port ${port}
HostKey ${dir}/host_key
AuthorizedKeysFile ${dir}/client_key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 500
PrintMotd no
SetEnv ${Object.entries(environment)
  .map(([name, value]) => `${name}=${value}`)
  .join(" ")}
`

export const open = async (dir: string, signal: AbortSignal): Promise<StockBuilder> => {
  mkdirSync(dir, { recursive: true })
  const environment = { NIX_CONF_DIR: path.join(dir, "store/conf") }
  const store = await NixStore.open(path.join(dir, "store"), {
    etc: StockNix.etc(),
    settings: StockNix.settings,
    signal
  })
  for (const name of ["host_key", "client_key"]) {
    await Process.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path.join(dir, name)], { signal })
  }
  const port = await freePort()
  const file = path.join(dir, "sshd_config")
  writeFileSync(file, serverConfig(dir, port, environment))
  // Its own directory for giving up privileges must be there, and /run is everybody's.
  const script = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$1" -D -e -f "$2"'
  // A process namespace, so that whatever its clients have left running ends with it.
  const enclosed = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
  const server = store.start([...enclosed, "sh", "-c", script, "sshd", await findServer(store), file])
  await server.line(/^Server listening on /)

  const hostKey = readFileSync(path.join(dir, "host_key.pub"), "utf8").split(" ").slice(0, 2).join(" ")
  writeFileSync(path.join(dir, "known_hosts"), `[127.0.0.1]:${port} ${hostKey}\n`)
  const versions = {
    nix: await store.must(["nix", "--version"]),
    openssh: (await store.run(["ssh", "-V"])).err.trim()
  }
  const close = async () => {
    server.signal("SIGKILL")
    await server.ended
    await store.close()
  }
  const sshConfig = writeSshConfig(dir, "stock", {
    address: `127.0.0.1:${port}`,
    user: "root",
    key: path.join(dir, "client_key"),
    knownHosts: path.join(dir, "known_hosts")
  })
  return { sshConfig, versions, close }
}

/** The system's, or the one that `npm run bench` has unpacked. */
const findServer = async (store: NixStore.NixStore) => {
  const unpacked = path.join(projectDirectory, "build/debian/openssh-server/usr/sbin/sshd")
  return await store.must(["sh", "-c", 'command -v sshd || echo "$1"', "find", unpacked])
}
