/** What was given on the command line and in the file, before it is known to be good; and what the starter gave. */
import * as Result from "effect/Result"
import * as path from "node:path"
import * as Toml from "smol-toml"
import { settings } from "./Options.ts"
import { SettingRefused, type Surroundings } from "./Setting.ts"

/** What a process can only be given by the one that started it. */
export interface Started {
  /** A descriptor of the wide user namespace that the sandboxes' own are made in. */
  readonly userNamespaceFd: number | null
  /** The first of the namespace's user ids that builds may have, and how many there are. */
  readonly subUids: { readonly first: number; readonly count: number } | null
  /** Control groups of ours: `memory`, `cpu`, … of version 1, or `unified`. */
  readonly cgroups: ReadonlyArray<{ readonly controller: string; readonly directory: string }>
}

const named = Object.values(settings)

/** What was given, before it is known to be good: by option, its text, where it stood, and what its paths start from. */
export interface Given {
  readonly text: string
  readonly where: string
  readonly directory: string
}

/** Options that only the starter gives. */
const internalOptions = ["user-namespace-fd", "sub-uids", "cgroup"]

const optionNames = new Set([...named.map(({ option }) => option), "config", ...internalOptions])

/** `--option VALUE` or `--option=VALUE`, the last of each kind; `--cgroup` as often as it is given. */
export const readArguments = (
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
export const readFile = (file: string, around: Surroundings): Result.Result<Map<string, Given>, SettingRefused> => {
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
export const readStarted = (found: ReadonlyArray<readonly [string, Given]>): Result.Result<Started, SettingRefused> => {
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
