/**
 * Every setting of the server, once: its name, what it may be, what it is when nobody says, and what goes wrong
 * without it.
 *
 * A setting is looked for on the command line (`--data-dir`), then in the environment (`DROVER_DATA_DIR`), then in the
 * file that `--config` names (`data-dir`). The first to be found counts, and a bad value is refused wherever it
 * stands. This is the one file that reads the environment.
 */
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Toml from "smol-toml"
import * as IpPrefix from "./domain/IpPrefix.ts"
import * as ListenAddress from "./domain/ListenAddress.ts"
import * as Size from "./domain/Size.ts"

const sandboxChoices = ["auto", "kvm", "emulated", "process"] as const
export type SandboxChoice = (typeof sandboxChoices)[number]

export interface Config {
  readonly dataDir: string
  readonly sshListen: ListenAddress.ListenAddress
  readonly httpListen: ListenAddress.ListenAddress
  readonly cores: number
  readonly memoryBytes: number
  readonly sandbox: SandboxChoice
  /** Systems whose builds are taken; null for all that there is a way to run. */
  readonly systems: ReadonlyArray<string> | null
  /** Prefixes within the reach of builds that have the network, beside those that everybody reaches. */
  readonly egressAllow: ReadonlyArray<IpPrefix.IpPrefix>
  /** What the starter tells the server; nothing when nobody started it. */
  readonly started: Started
}

/** What a process can only be given by the one that started it. */
export interface Started {
  /** A descriptor of the wide user namespace that the sandboxes' own are made in. */
  readonly userNamespaceFd: number | null
  /** The first of the namespace's user ids that builds may have, and how many there are. */
  readonly subUids: { readonly first: number; readonly count: number } | null
  /** Control groups of ours: `memory`, `cpu`, … of version 1, or `unified`. */
  readonly cgroups: ReadonlyArray<{ readonly controller: string; readonly directory: string }>
}

/** A setting that cannot be followed, in words for whoever gave it. */
export class SettingRefused {
  readonly _tag = "SettingRefused"
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** What the defaults depend on. */
export interface Surroundings {
  readonly isRoot: boolean
  readonly environment: { readonly [name: string]: string | undefined }
  readonly home: string
  /** What relative paths on the command line are relative to. */
  readonly directory: string
  readonly cores: number
  readonly memoryBytes: number
  readonly readFile: (file: string) => Result.Result<string, string>
}

interface Setting<A> {
  readonly option: string
  readonly placeholder: string
  readonly about: string
  /** What it may be, as it is told to whoever gave something else. */
  readonly allowed: string
  /** `directory`: what a relative path is relative to. Undefined for what is not allowed. */
  readonly parse: (text: string, directory: string) => A | undefined
  readonly fallback: (around: Surroundings) => A
  /** The fallback in words. */
  readonly otherwise: string
  readonly print: (value: A) => string
}

const setting = <A>(self: Setting<A>) => self

const address = (option: string, about: string, fallback: ListenAddress.ListenAddress) =>
  setting({
    option,
    placeholder: "HOST:PORT",
    about,
    allowed: "HOST:PORT, with a port from 0 to 65535, such as 0.0.0.0:7022 or [::1]:0",
    parse: ListenAddress.parse,
    fallback: () => fallback,
    otherwise: ListenAddress.print(fallback),
    print: ListenAddress.print
  })

/** Every system, said as a word, since an empty list would be none. */
const allSystems = "all"

/** Undefined is what is not allowed; the list has at least one. */
const parseSystems = (text: string): ReadonlyArray<string> | undefined => {
  const systems = text.split(",")
  return systems.every((system) => /^[a-z0-9_]+-linux$/.test(system)) ? [...new Set(systems)] : undefined
}

const coresMax = 4096
const memoryBytesMin = 256 * 1024 ** 2

/** Left to Drover and its database: an eighth of the machine, but no less and no more than they have a use for. */
const ownMemoryBytes = (total: number) => Math.min(Math.max(total / 8, 256 * 1024 ** 2), 2 * 1024 ** 3)

/** Whole mebibytes, so that it can be written as a size. */
const memoryFor = (total: number) =>
  Math.max(Math.floor((total - ownMemoryBytes(total)) / 1024 ** 2) * 1024 ** 2, memoryBytesMin)

const settings = {
  /** Without a place of its own, two servers of one machine would share keys and a database. */
  dataDir: setting<string>({
    option: "data-dir",
    placeholder: "DIR",
    about: "where everything is kept: keys, database, store",
    allowed: "a directory's path",
    parse: (text, directory) => (text === "" || text.includes("\0") ? undefined : path.resolve(directory, text)),
    fallback: ({ environment, home, isRoot }) =>
      isRoot
        ? "/var/lib/drover"
        : path.resolve(environment["XDG_DATA_HOME"] || path.join(home, ".local/share"), "drover"),
    otherwise: "/var/lib/drover as root, else $XDG_DATA_HOME/drover",
    print: (directory) => directory
  }),
  /** Only this machine by default: who is let in is for the operator to widen. */
  sshListen: address("ssh-listen", "where Nix connects; port 0 takes any free one", { host: "127.0.0.1", port: 7022 }),
  httpListen: address("http-listen", "where /healthz and /readyz are; port 0 takes any free one", {
    host: "127.0.0.1",
    port: 7080
  }),
  /** Without a bound, builds would slow each other and the server. */
  cores: setting<number>({
    option: "cores",
    placeholder: "N",
    about: "cores that builds may have, all together",
    allowed: `a whole number from 1 to ${coresMax}`,
    parse: (text) => (/^[1-9][0-9]{0,3}$/.test(text) && Number(text) <= coresMax ? Number(text) : undefined),
    fallback: ({ cores }) => cores,
    otherwise: "all of this machine's",
    print: String
  }),
  /** Without a bound, builds would push the server and its database out. */
  memoryBytes: setting<number>({
    option: "memory",
    placeholder: "SIZE",
    about: "memory that builds may have, all together",
    allowed: `a size of at least ${Size.print(memoryBytesMin)}, such as 512M or 11G`,
    parse: (text) => {
      const bytes = Size.parse(text)
      return bytes !== null && bytes >= memoryBytesMin ? bytes : undefined
    },
    fallback: ({ memoryBytes }) => memoryFor(memoryBytes),
    otherwise: "seven eighths of this machine's",
    print: Size.print
  }),
  /** A virtual machine unless somebody who knows better says otherwise: it never comes to be `process` by itself. */
  sandbox: setting<SandboxChoice>({
    option: "sandbox",
    placeholder: "KIND",
    about: "what a build runs in: auto, kvm, emulated or process",
    allowed: `one of ${sandboxChoices.join(", ")}`,
    parse: (text) => sandboxChoices.find((choice) => choice === text),
    fallback: () => "auto",
    otherwise: "auto: a virtual machine, by KVM where it runs, else emulated",
    print: (choice) => choice
  }),
  /** Without a choice, clients of a host that emulates would send it what another of their builders runs natively. */
  systems: setting<ReadonlyArray<string> | null>({
    option: "systems",
    placeholder: "LIST",
    about: "systems to build for, such as x86_64-linux,aarch64-linux",
    allowed: `systems such as x86_64-linux, with commas between them, or ${allSystems}`,
    parse: (text) => (text === allSystems ? null : parseSystems(text)),
    fallback: () => null,
    otherwise: `${allSystems}: this machine's own, and in virtual machines others, emulated`,
    print: (systems) => systems?.join(",") ?? allSystems
  }),
  /** Without it, a mirror on a private network could not be reached; with too much in it, everything there could be. */
  egressAllow: setting<ReadonlyArray<IpPrefix.IpPrefix>>({
    option: "egress-allow",
    placeholder: "LIST",
    about: "networks that fetching builds may reach beside public ones",
    allowed: "prefixes such as 10.1.0.0/16,fd12:3456::/32, with commas between them, or none",
    parse: (text) => (text === "none" ? [] : (IpPrefix.parseList(text) ?? undefined)),
    fallback: () => [],
    otherwise: "none: public addresses only",
    print: (prefixes) => prefixes.map(IpPrefix.print).join(",") || "none"
  })
} as const

const named = Object.values(settings)
const variableOf = (option: string) => `DROVER_${option.toUpperCase().replaceAll("-", "_")}`

const bytesMax = 1024 ** 2

export const helpText = `Drover, a remote builder for Nix

  npm start -- [OPTION]…        start the server
  npm run -s drover -- --help   the operator's commands

Options, each also as a variable (--data-dir: ${variableOf("data-dir")}) and in the file (data-dir).
The command line goes before the environment, and that before the file.

${named
  .map(
    ({ about, option, otherwise, placeholder }) =>
      `  ${`--${option} ${placeholder}`.padEnd(28)}  ${about}\n${" ".repeat(32)}(${otherwise})\n`
  )
  .join("")}  ${"--config FILE".padEnd(28)}  settings in TOML, or in JSON if it is named so
${" ".repeat(32)}(none)
  ${"--no-install".padEnd(28)}  only name the system packages that are missing
  ${"--help".padEnd(28)}  show this
`

/** What was given, before it is known to be good: by option, its text, where it stood, and what its paths start from. */
interface Given {
  readonly text: string
  readonly where: string
  readonly directory: string
}

/** Options that only the starter gives. */
const internalOptions = ["user-namespace-fd", "sub-uids", "cgroup"]

const optionNames = new Set([...named.map(({ option }) => option), "config", ...internalOptions])

/** `--option VALUE` or `--option=VALUE`, the last of each kind; `--cgroup` as often as it is given. */
const readArguments = (
  args: ReadonlyArray<string>,
  directory: string
): Result.Result<ReadonlyArray<readonly [option: string, given: Given]>, SettingRefused> => {
  const found: Array<readonly [string, Given]> = []
  const rest = [...args]
  while (rest.length > 0) {
    const word = rest.shift()!
    const [, option, inline] = /^--([a-z-]+)(?:=(.*))?$/s.exec(word) ?? []
    if (option === undefined || !optionNames.has(option)) {
      return Result.fail(new SettingRefused(`expected an option, found ${JSON.stringify(word)}; --help lists them`))
    }
    const text = inline ?? rest.shift()
    if (text === undefined)
      return Result.fail(new SettingRefused(`--${option}: expected a value, found nothing after it`))
    found.push([option, { text, where: `--${option}`, directory }])
  }
  return Result.succeed(found)
}

/** The file's settings. Numbers are as good as their text; nothing is nested. */
const readSettings = (file: string, around: Surroundings): Result.Result<Map<string, Given>, SettingRefused> => {
  const refused = (why: string) => Result.fail(new SettingRefused(`--config ${JSON.stringify(file)}: ${why}`))
  const contents = around.readFile(file)
  if (Result.isFailure(contents)) return refused(contents.failure)
  const parsed = parseFile(file, contents.success)
  if (Result.isFailure(parsed)) return refused(parsed.failure)
  const given = new Map<string, Given>()
  for (const [option, value] of Object.entries(parsed.success)) {
    if (!named.some((each) => each.option === option)) {
      return refused(`expected the name of a setting, found ${JSON.stringify(option)}`)
    }
    if (typeof value !== "string" && typeof value !== "number" && typeof value !== "bigint") {
      return refused(`${option}: expected text or a number, found ${JSON.stringify(value)}`)
    }
    given.set(option, { text: String(value), where: `${option} in ${file}`, directory: path.dirname(file) })
  }
  return Result.succeed(given)
}

const parseFile = (file: string, text: string): Result.Result<object, string> =>
  Result.flatMap(
    Result.try({
      try: (): unknown => (file.endsWith(".json") ? JSON.parse(text) : Toml.parse(text)),
      catch: (error) => `expected ${file.endsWith(".json") ? "JSON" : "TOML"}, found: ${String(error).split("\n")[0]}`
    }),
    (value) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Result.succeed(value)
        : Result.fail("expected settings by name, found something else")
  )

const integer = (text: string) => (/^[0-9]{1,10}$/.test(text) ? Number(text) : null)

/** What the starter gave. Its words are ours, so a bad one is a bug, and told like any other. */
const readStarted = (found: ReadonlyArray<readonly [string, Given]>): Result.Result<Started, SettingRefused> => {
  const last = (option: string) => found.findLast(([name]) => name === option)?.[1].text
  const range = /^([0-9]{1,10}):([0-9]{1,10})$/.exec(last("sub-uids") ?? "")
  const cgroups = found
    .filter(([name]) => name === "cgroup")
    .map(([, { text }]) => {
      const [, controller, directory] = /^([a-z_,=]+?)=(\/.*)$/s.exec(text) ?? []
      return controller === undefined || directory === undefined ? null : { controller, directory }
    })
  const fd = last("user-namespace-fd")
  const isGood =
    (fd === undefined || integer(fd) !== null) &&
    (last("sub-uids") === undefined || range !== null) &&
    cgroups.every((each) => each !== null)
  if (!isGood) return Result.fail(new SettingRefused("expected the starter's own options, found others in their place"))
  return Result.succeed({
    userNamespaceFd: fd === undefined ? null : integer(fd),
    subUids: range === null ? null : { first: Number(range[1]), count: Number(range[2]) },
    cgroups: cgroups.filter((each) => each !== null)
  })
}

/** The settings as they hold, or the first that cannot be followed. */
export const read = (args: ReadonlyArray<string>, around: Surroundings): Result.Result<Config, SettingRefused> =>
  Result.gen(function* () {
    const found = yield* readArguments(args, around.directory)
    const commandLine = new Map(found)
    const started = yield* readStarted(found)

    const fromEnvironment = (option: string): Given | undefined => {
      const text = around.environment[variableOf(option)]
      // An empty variable is how many tools unset one.
      return text === undefined || text === ""
        ? undefined
        : { text, where: `--${option}, from ${variableOf(option)}`, directory: around.directory }
    }
    const config = commandLine.get("config") ?? fromEnvironment("config")
    const file: Map<string, Given> =
      config === undefined ? new Map() : yield* readSettings(path.resolve(config.directory, config.text), around)

    const valueOf = <A>({ allowed, fallback, option, parse }: Setting<A>): Result.Result<A, SettingRefused> => {
      const given = commandLine.get(option) ?? fromEnvironment(option) ?? file.get(option)
      if (given === undefined) return Result.succeed(fallback(around))
      const value = parse(given.text, given.directory)
      return value === undefined
        ? Result.fail(new SettingRefused(`${given.where}: expected ${allowed}, found ${JSON.stringify(given.text)}`))
        : Result.succeed(value)
    }

    return {
      dataDir: yield* valueOf(settings.dataDir),
      sshListen: yield* valueOf(settings.sshListen),
      httpListen: yield* valueOf(settings.httpListen),
      cores: yield* valueOf(settings.cores),
      memoryBytes: yield* valueOf(settings.memoryBytes),
      sandbox: yield* valueOf(settings.sandbox),
      systems: yield* valueOf(settings.systems),
      egressAllow: yield* valueOf(settings.egressAllow),
      started
    }
  })

/** Arguments that say the same without environment or file: the server's user may be able to read neither. */
export const toArguments = (config: Config): ReadonlyArray<string> => {
  const one = <A>({ option, print }: Setting<A>, value: A) => [`--${option}`, print(value)]
  return [
    ...one(settings.dataDir, config.dataDir),
    ...one(settings.sshListen, config.sshListen),
    ...one(settings.httpListen, config.httpListen),
    ...one(settings.cores, config.cores),
    ...one(settings.memoryBytes, config.memoryBytes),
    ...one(settings.sandbox, config.sandbox),
    ...one(settings.systems, config.systems),
    ...one(settings.egressAllow, config.egressAllow)
  ]
}

/**
 * The environment for a server that is told everything by `toArguments`: without our variables, and without npm's.
 * Node keeps compiled code with the data, which the server's user may write; it halves the time to start. Its pool
 * of threads is as wide as a group of NARs that are synced at once: with four, the disk waits for us.
 */
export const serverEnvironment = ({ dataDir }: Config): Record<string, string> => {
  const kept = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || /^(DROVER_|npm_)/.test(name) ? [] : [[name, value] as const]
  )
  return { ...Object.fromEntries(kept), NODE_COMPILE_CACHE: path.join(dataDir, "compiled"), UV_THREADPOOL_SIZE: "16" }
}

/** This process's surroundings. Started by npm, which changes the directory, it takes the one npm was called in. */
export const surroundings = (): Surroundings => {
  const environment = process.env
  const constrained = process.constrainedMemory()
  const total = os.totalmem()
  return {
    isRoot: process.getuid?.() === 0,
    environment,
    home: os.homedir(),
    directory: (environment["npm_lifecycle_event"] !== undefined && environment["INIT_CWD"]) || process.cwd(),
    cores: os.availableParallelism(),
    // Zero, or more than there is, where nothing constrains it.
    memoryBytes: constrained > 0 && constrained < total ? constrained : total,
    readFile: (file) =>
      Result.try({
        try: () => {
          if (fs.statSync(file).size > bytesMax) throw new Error(`expected at most ${bytesMax} bytes`)
          return fs.readFileSync(file, "utf8")
        },
        catch: (error) => (error instanceof Error ? error.message : String(error))
      })
  }
}
