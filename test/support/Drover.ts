/**
 * Drover as its operator has it: started with `npm start` on a data directory of its own, known by its ready line,
 * asked through its commands, and stopped.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as Process from "./Process.ts"

export const projectDirectory = fileURLToPath(new URL("../..", import.meta.url))

/** A build as `builds list --json` tells it. */
export interface Build {
  readonly id: string
  readonly derivation: string
  readonly system: string
  readonly state: string
  readonly accounts: ReadonlyArray<string>
  readonly reusedFrom: string | null
  readonly attempts: ReadonlyArray<{
    readonly sandbox: string
    readonly startedAt: string
    readonly endedAt: string | null
    readonly outcome: string | null
    readonly cores: number
    readonly memoryBytes: number
  }>
}

export interface Drover {
  readonly process: Process.Process
  readonly ready: {
    readonly ssh: string
    readonly http: string
    readonly data: string
    readonly key: string
    readonly knownHosts: string
  }
  /** What it printed for people, after the ready line. */
  readonly printed: () => ReadonlyArray<string>
  /** An ssh_config in which it is the host `drover`. */
  readonly sshConfig: string
  readonly command: (...words: ReadonlyArray<string>) => Promise<Process.Ended>
  /** Newest first. */
  readonly builds: () => Promise<ReadonlyArray<Build>>
  /** Ends it as a supervisor would, and waits until it has ended. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Process.Ended>
}

/** `dir` holds its data and our ssh_config; a second start with the same finds what the first left. */
export const start = async (
  dir: string,
  {
    arguments: more = [],
    environment = {},
    ports,
    signal
  }: {
    readonly arguments?: ReadonlyArray<string>
    readonly environment?: Readonly<Record<string, string>>
    /** Those of an earlier life, where the same are wanted. */
    readonly ports?: { readonly ssh: string; readonly http: string }
    readonly signal?: AbortSignal | undefined
  } = {}
): Promise<Drover> => {
  const data = path.join(dir, "data")
  mkdirSync(dir, { recursive: true })
  const listen = ["--ssh-listen", ports?.ssh ?? "127.0.0.1:0", "--http-listen", ports?.http ?? "127.0.0.1:0"]
  const npm = ["npm", "--prefix", projectDirectory, "--silent"]
  const env = { ...withoutSettings(process.env), ...environment }
  const started = Process.start(
    [...npm, "start", "--", "--data-dir", data, ...listen, "--sandbox", "process", ...more],
    { cwd: projectDirectory, env }
  )
  // Given up, it is ended as it wants to be, so that nothing of it is left.
  signal?.addEventListener("abort", () => started.signal("SIGTERM", "alone"), { once: true })
  const line = await started.line(/^drover ready /)
  const words = new Map(
    line.text
      .split(" ")
      .slice(2)
      .map((word) => {
        const at = word.indexOf("=")
        return [word.slice(0, at), decodeURIComponent(word.slice(at + 1))]
      })
  )
  const field = (name: string) => {
    const value = words.get(name)
    if (value === undefined) throw new Error(`expected ${name}=… in the ready line, found ${line.text}`)
    return value
  }
  const ready = {
    ssh: field("ssh"),
    http: field("http"),
    data: field("data"),
    key: field("key"),
    knownHosts: field("known_hosts")
  }

  const command: Drover["command"] = (...words) =>
    Process.run([...npm, "run", "drover", "--", ...words, "--data-dir", data], { cwd: projectDirectory, env, signal })
  const builds = async () => {
    const words = ["builds", "list", "--json"]
    const ended = await command(...words)
    if (ended.status !== 0) throw new Process.CommandFailed(words, ended)
    // Its shape is what one of the tests is about; the others presume it.
    return JSON.parse(ended.out) as ReadonlyArray<Build>
  }
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    started.signal(signal, "alone")
    return await started.ended
  }
  return {
    process: started,
    ready,
    printed: () =>
      started.lines
        .filter(({ from }) => from === "out")
        .map(({ text }) => text)
        .slice(1),
    sshConfig: writeSshConfig(dir, "drover", {
      address: ready.ssh,
      user: "nix",
      key: ready.key,
      knownHosts: ready.knownHosts
    }),
    command,
    builds,
    stop
  }
}

/** The settings of whoever runs us are not those of this server. */
const withoutSettings = (env: NodeJS.ProcessEnv) =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !/^(DROVER_|OTEL_|npm_)/.test(name)))

/** Writes an ssh_config for one host, and gives its path. */
export const writeSshConfig = (
  dir: string,
  host: string,
  {
    address,
    key,
    knownHosts,
    user
  }: {
    /** HOST:PORT, or [HOST]:PORT. */
    readonly address: string
    readonly user: string
    readonly key: string
    readonly knownHosts: string
  }
) => {
  const at = address.lastIndexOf(":")
  const options = {
    HostName: address.slice(0, at).replace(/^\[|\]$/g, ""),
    Port: address.slice(at + 1),
    User: user,
    IdentityFile: `"${key}"`,
    IdentitiesOnly: "yes",
    BatchMode: "yes",
    UserKnownHostsFile: `"${knownHosts}"`,
    GlobalKnownHostsFile: "/dev/null",
    StrictHostKeyChecking: "yes",
    LogLevel: "ERROR"
  }
  const file = path.join(dir, `ssh_config-${host}`)
  const lines = Object.entries(options).map(([name, value]) => `  ${name} ${value}\n`)
  writeFileSync(file, `Host ${host}\n${lines.join("")}`)
  return file
}
