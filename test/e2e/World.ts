/** The running product and clients of it, as one test file has them: opened once, gone at its end. */
import { afterAll, beforeAll } from "@effect/vitest"
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Drover from "../support/Drover.ts"
import * as NixStore from "../support/NixStore.ts"
import * as Process from "../support/Process.ts"
import * as ProcessTable from "../support/ProcessTable.ts"

export type Scheme = "ssh" | "ssh-ng"
export const schemes: ReadonlyArray<Scheme> = ["ssh", "ssh-ng"]

export interface Client {
  readonly store: NixStore.NixStore
  /** Begins to build what an expression says, on Drover alone. */
  readonly startBuild: (expression: string, scheme: Scheme, ...flags: ReadonlyArray<string>) => Process.Process
  readonly build: (expression: string, scheme: Scheme, ...flags: ReadonlyArray<string>) => Promise<Process.Ended>
  /** The .drv path of an expression, as `builds list` names it. */
  readonly derivation: (expression: string) => Promise<string>
}

export class World {
  readonly directory: string
  #drover: Drover.Drover | null = null
  #clients: Array<NixStore.NixStore> = []

  constructor() {
    this.directory = mkdtempSync(path.join(os.tmpdir(), "drover-e2e-"))
    chmodSync(this.directory, 0o755)
  }

  get drover() {
    if (this.#drover === null) throw new Error("expected a running server, found none")
    return this.#drover
  }

  async start(options?: Parameters<typeof Drover.start>[1]) {
    this.#drover = await Drover.start(path.join(this.directory, "drover"), options)
    return this.#drover
  }

  /** With a store in which there is nothing yet. */
  async client(sshConfig = this.drover.sshConfig): Promise<Client> {
    const store = await this.plainStore({ NIX_SSHOPTS: `-F ${sshConfig}` })
    const startBuild: Client["startBuild"] = (expression, scheme, ...flags) => {
      const machine = `${scheme}://drover ${NixStore.system} - 100 1 big-parallel`
      const words = ["nix-build", "--no-out-link", "-j0", "--builders", machine, ...flags, "-E", expression]
      const process = store.start(words)
      process.stdin.end()
      return process
    }
    return {
      store,
      startBuild,
      build: (expression, scheme, ...flags) => startBuild(expression, scheme, ...flags).ended,
      derivation: (expression) => store.must(["nix-instantiate", "-E", expression])
    }
  }

  /** One whose connections ask for these settings. */
  async clientAsking(settings: string): Promise<Client> {
    const config = path.join(this.directory, `asking-${this.#clients.length}.ssh_config`)
    copyFileSync(this.drover.sshConfig, config)
    appendFileSync(config, `  SetEnv ${settings}\n`)
    return await this.client(config)
  }

  /** Adds an account, and gives an ssh_config for it. */
  async addAccount(name: string) {
    const dir = path.join(this.directory, `account-${name}`)
    mkdirSync(dir)
    const key = path.join(dir, "key")
    await Process.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    const words = ["accounts", "add", name, "--key", `${key}.pub`]
    const ended = await this.drover.command(...words)
    if (ended.status !== 0) throw new Process.CommandFailed(words, ended)
    const { knownHosts, ssh } = this.drover.ready
    return Drover.writeSshConfig(dir, "drover", { address: ssh, user: name, key, knownHosts })
  }

  async plainStore(environment: Readonly<Record<string, string>> = {}) {
    const dir = path.join(this.directory, `client-${this.#clients.length}`)
    const store = await NixStore.open(dir, { environment })
    this.#clients.push(store)
    return store
  }

  async close() {
    for (const client of this.#clients) await client.close()
    try {
      await this.#examine()
    } finally {
      await this.#drover?.stop()
      rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 })
    }
  }

  /** A server that still runs is asked whether all that it has on record is as it must be. */
  async #examine() {
    const ended = await this.#drover?.command("doctor")
    if (ended === undefined || ended.status === 0 || /expected a server running/.test(ended.err)) return
    throw new Error(`expected all to be well in the end, found status ${ended.status}:\n${ended.out}${ended.err}`)
  }
}

/** A world for the tests of a file, with a server in it. */
export const opened = (options?: Parameters<typeof Drover.start>[1]): World => {
  const world = new World()
  beforeAll(() => world.start(options))
  afterAll(() => world.close())
  return world
}

const build = path.join(Drover.projectDirectory, "build")

/** A derivation whose builder is a busybox that comes from the client, so that there is an input to upload. */
export const derivation = (name: string, script: string, attributes = "") => `
  let bb = builtins.path {
    path = ${JSON.stringify(build)}; name = "busybox"; filter = path: type: baseNameOf path == "busybox";
  };
  in derivation {
    name = ${JSON.stringify(name)}; system = "${NixStore.system}"; builder = "\${bb}/busybox";
    args = [ "sh" "-c" ${JSON.stringify(script).replaceAll("${", "\\${")} ];
    seed = "${seed++} ${process.pid} ${Date.now()}"; inherit bb;
    ${attributes}
  }`

/** A builder's sleep that lasts until it is ended from outside, so that no test waits for a clock. */
export const sleep = () => {
  const seconds = `${100_000_000 + process.pid * 1000 + seed++}`
  const sleepers = () => ProcessTable.list().filter(({ command }) => command.endsWith(`\0sleep\0${seconds}\0`))
  /** Who sleeps, once somebody does: a builder says that it will before it does. */
  const sleeper = async () => {
    while (true) {
      const [found] = sleepers()
      if (found !== undefined) return found.pid
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return {
    /** In the script of a derivation. */
    command: `$bb/busybox sleep ${seconds}`,
    sleepers,
    sleeper,
    end: async () => process.kill(await sleeper(), "SIGTERM")
  }
}

let seed = 0
