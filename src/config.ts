/**
 * The settings of the server as they hold. `config/Options.ts` has each of them once.
 *
 * A setting is looked for on the command line (`--data-dir`), then in the environment (`DROVER_DATA_DIR`), then in the
 * file that `--config` names (`data-dir`). The first to be found counts, and a bad value is refused wherever it
 * stands. This is the one file that reads the environment.
 */
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { type Given, readArguments, readFile, readStarted, type Started } from "./config/Given.ts"
import { settings, type Values } from "./config/Options.ts"
import { type Setting, SettingRefused, type Surroundings } from "./config/Setting.ts"

export type { Surroundings }

export interface Config extends Values {
  /** What the starter tells the server; nothing when nobody started it. */
  readonly started: Started
}

/** A setting together with the name of its value; that the two belong together is lost to the types. */
const entries = Object.entries(settings) as unknown as ReadonlyArray<readonly [keyof Values, Setting<unknown>]>
const variableOf = (option: string) => `DROVER_${option.toUpperCase().replaceAll("-", "_")}`

const bytesMax = 1024 ** 2

export const helpText = `Drover, a remote builder for Nix

  npm start -- [OPTION]…        start the server
  npm run -s drover -- --help   the operator's commands

Options, each also as a variable (--data-dir: ${variableOf("data-dir")}) and in the file (data-dir).
The command line goes before the environment, and that before the file.

${entries
  .map(
    ([, { about, option, otherwise, placeholder }]) =>
      `  ${`--${option} ${placeholder}`.padEnd(28)}  ${about}\n${" ".repeat(32)}(${otherwise})\n`
  )
  .join("")}  ${"--config FILE".padEnd(28)}  settings in TOML, or in JSON if it is named so
${" ".repeat(32)}(none)
  ${"--no-install".padEnd(28)}  only name the system packages that are missing
  ${"--help".padEnd(28)}  show this
`

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
      config === undefined ? new Map() : yield* readFile(path.resolve(config.directory, config.text), around)

    const valueOf = <A>({ allowed, fallback, option, parse }: Setting<A>): Result.Result<A, SettingRefused> => {
      const given = commandLine.get(option) ?? fromEnvironment(option) ?? file.get(option)
      if (given === undefined) return Result.succeed(fallback(around))
      const value = parse(given.text, given.directory)
      return value === undefined
        ? Result.fail(new SettingRefused(`${given.where}: expected ${allowed}, found ${JSON.stringify(given.text)}`))
        : Result.succeed(value)
    }

    const values: Record<string, unknown> = {}
    for (const [name, setting] of entries) values[name] = yield* valueOf(setting)
    // Each value was parsed by the setting of its name, and every setting has had its turn.
    return { ...(values as unknown as Values), started }
  })

/** Arguments that say the same without environment or file: the server's user may be able to read neither. */
export const toArguments = (config: Config): ReadonlyArray<string> =>
  entries.flatMap(([name, { option, print }]) => [`--${option}`, print(config[name])])

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
