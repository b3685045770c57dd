/**
 * The newest OpenSSH as a client: that it exchanges keys by ML-KEM with the door, and has nothing to warn of.
 *
 *   node test/openssh/main.ts [--release sid]
 *
 * It is fetched as a package of that release of Debian, with the libraries that it wants, into a directory of its own
 * that goes at the end; nothing is installed. `npm test` has the same exchange with a client of its own instead, since it
 * may not fetch.
 */
import * as fs from "node:fs"
import type { AddressInfo } from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import ssh2 from "ssh2"
import * as OpenSshKey from "../../src/cli/OpenSshKey.ts"
import * as Drover from "../support/Drover.ts"
import * as NixStore from "../support/NixStore.ts"
import * as Process from "../support/Process.ts"

const method = "mlkem768x25519-sha256"

/** What OpenSSH, from 10.1 on, says of a server that has nothing better than what a quantum computer could break. */
const warning = /not using a post-quantum key exchange/

const say = (text: string) => process.stdout.write(`${text}\n`)

const expect = (what: string, holds: boolean, found = "") => {
  if (!holds) throw new Error(`expected that ${what}${found === "" ? "" : `; found:\n${found}`}`)
  say(`ok  ${what}`)
}

const must = async (argv: ReadonlyArray<string>, options?: Process.Options) => {
  const ended = await Process.start(argv, options).ended
  if (ended.status !== 0) throw new Process.CommandFailed(argv, ended)
  return ended.out
}

/** A directory with OpenSSH's client and all that it needs, from the place where the machine's own packages come from. */
const fetchOpenSsh = async (dir: string, release: string) => {
  const sources = await must(["apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)"])
  const uri = /^Debian main (\S+)$/m.exec(sources)?.[1]
  if (uri === undefined) throw new Error("expected a source of Debian's packages among apt's own, found none")
  const state = path.join(dir, "apt")
  for (const part of ["state/lists/partial", "cache/archives/partial"])
    fs.mkdirSync(path.join(state, part), { recursive: true })
  fs.writeFileSync(path.join(state, "status"), "")
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
  fs.writeFileSync(path.join(state, "sources.list"), `deb [signed-by=${keys}] ${uri} ${release} main\n`)
  const options = {
    "Dir::State": path.join(state, "state"),
    "Dir::State::status": path.join(state, "status"),
    "Dir::Cache": path.join(state, "cache"),
    "Dir::Etc::sourcelist": path.join(state, "sources.list"),
    "Dir::Etc::sourceparts": "-",
    "Acquire::Languages": "none",
    "APT::Sandbox::User": "root",
    "APT::Update::Post-Invoke": "",
    "APT::Update::Post-Invoke-Success": ""
  }
  const apt = ["apt-get", "-q", "-y", ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`])]
  await must([...apt, "update"])
  await must([...apt, "install", "--no-install-recommends", "--download-only", "openssh-client"])
  const root = path.join(dir, "root")
  for (const name of fs.readdirSync(path.join(state, "cache/archives"))) {
    if (name.endsWith(".deb")) await must(["dpkg-deb", "-x", path.join(state, "cache/archives", name), root])
  }
  return root
}

/** A directory with a program `ssh`, which is that OpenSSH with its own libraries. */
const wrap = (dir: string, root: string) => {
  const [libraries] = fs.globSync(path.join(root, "usr/lib/*-linux-gnu"))
  const [loader] = fs.globSync(path.join(libraries ?? "", "ld-linux*.so.*"))
  if (libraries === undefined || loader === undefined) throw new Error(`expected a loader of libraries in ${root}`)
  const bin = path.join(dir, "bin")
  fs.mkdirSync(bin)
  const script = `#!/bin/sh\nexec ${loader} --library-path ${libraries} ${root}/usr/bin/ssh "$@"\n`
  fs.writeFileSync(path.join(bin, "ssh"), script, { mode: 0o755 })
  return bin
}

/** A door as it was before ML-KEM, which lets nobody in: the warning comes first. */
const openOld = async () => {
  const { privateKey } = await Effect.runPromise(OpenSshKey.generate(""))
  const hostKeys = [privateKey]
  const server = new ssh2.Server({ hostKeys, algorithms: { kex: ["curve25519-sha256"] } }, (client) => {
    client.on("error", () => {})
    client.on("authentication", (context) => context.reject([]))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  // A server that listens on a port has an address of this form.
  const { port } = server.address() as AddressInfo
  return { port, close: () => void server.close() }
}

/** Connections one after another: each has a secret of its own, and some secrets are those that are written wrongly. */
const connections = 40

const prove = async (dir: string, release: string) => {
  await using stack = new AsyncDisposableStack()
  say(`fetches OpenSSH of Debian ${release}`)
  const bin = wrap(dir, await fetchOpenSsh(dir, release))
  const env = { ...process.env, PATH: `${bin}:${process.env["PATH"]}` }
  const version = (await Process.start(["ssh", "-V"], { env }).ended).err.trim()
  expect(`the client is OpenSSH 10 or newer: ${version}`, Number(/^OpenSSH_(\d+)/.exec(version)?.[1]) >= 10)

  const drover = await Drover.start(path.join(dir, "drover"))
  stack.defer(async () => void (await drover.stop()))
  const connect = async (...options: ReadonlyArray<string>) => {
    const argv = ["ssh", "-v", "-F", drover.sshConfig, ...options, "drover", "nix-store", "--serve"]
    const client = Process.start(argv, { env })
    client.stdin.end()
    return (await client.ended).err
  }

  const said = await connect()
  expect(`left to itself, it exchanges keys by ${method}`, said.includes(`kex: algorithm: ${method}`), said)
  expect("it warns of nothing", !warning.test(said), said)
  const withoutIt = await openOld()
  stack.defer(withoutIt.close)
  const old = await connect(
    "-p",
    `${withoutIt.port}`,
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null"
  )
  expect("of a server that has no such method, it does", warning.test(old), old)
  for (let count = 0; count < connections; count++) {
    const said = await connect("-o", `KexAlgorithms=${method}`)
    if (!said.includes("Authenticated to"))
      throw new Error(`expected connection ${count} to be let in, found:\n${said}`)
  }
  expect(`${connections} of ${connections} connections by it alone are let in`, true)

  // Keys are exchanged again after each so many bytes, in the midst of NARs.
  const sshOptions = `-F ${drover.sshConfig} -o KexAlgorithms=${method} -o RekeyLimit=4M`
  const open = async (name: string) => {
    fs.mkdirSync(path.join(dir, name))
    const store = await NixStore.open(path.join(dir, name), {
      environment: { NIX_SSHOPTS: sshOptions, PATH: `${bin}:${process.env["PATH"]}` }
    })
    stack.defer(store.close)
    return store
  }
  const [here, there] = [await open("here"), await open("there")]
  const file = path.join(dir, "contents")
  await must(["sh", "-c", `head -c 64000000 /dev/urandom > ${file}`])
  const added = await here.must(["nix-store", "--add", file])
  for (const scheme of ["ssh", "ssh-ng"]) {
    await here.must(["nix", "copy", "--no-check-sigs", "--to", `${scheme}://drover`, added])
    await there.must(["nix", "copy", "--no-check-sigs", "--from", `${scheme}://drover`, added])
    const hashes = [here, there].map((store) => store.must(["nix-store", "--query", "--hash", added]))
    expect(`64 MB go up and come down over ${scheme}, the same`, new Set(await Promise.all(hashes)).size === 1)
    await there.must(["nix-store", "--delete", added])
    const expression = `derivation {
      name = "${scheme}"; system = "${NixStore.system}"; builder = "/bin/sh"; args = [ "-c" "echo ${scheme} > $out" ];
    }`
    const machine = `${scheme}://drover ${NixStore.system} - 1 1`
    const words = ["nix-build", "--no-out-link", "-j0", "--builders", machine, "-E", expression]
    const built = await here.must(words)
    expect(`a build over ${scheme}`, (await here.must(["cat", built])) === scheme)
  }
}

const { values } = parseArgs({ options: { release: { type: "string", default: "sid" } } })
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "drover-openssh-"))
fs.chmodSync(dir, 0o755)
try {
  await prove(dir, values.release)
} finally {
  fs.rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
}
