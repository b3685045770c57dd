/**
 * What a client may ask for its builds by its connection's environment: every such setting once, with its variable,
 * what it may be, and what holds without it.
 *
 *     ssh_config:  SetEnv DROVER_REUSE_BUILD_FAILURES=false DROVER_MAX_MEM=8G
 *
 * None of them widens what is trusted or sends anything out: whoever may set a variable is not by that somebody who may
 * decide that. A value that cannot be followed is left out, and the client is told so, since it would otherwise look
 * for the mistake everywhere else.
 */
import * as Size from "./Size.ts"

interface Setting<A> {
  readonly variable: string
  /** For the documentation. */
  readonly about: string
  /** What it may be, as it is told to whoever gave something else. */
  readonly allowed: string
  /** Undefined for what is not allowed. */
  readonly parse: (text: string) => A | undefined
  readonly otherwise: A
}

const prefix = "DROVER_"

const flag = (name: string, otherwise: boolean, about: string): Setting<boolean> => ({
  variable: `${prefix}${name}`,
  about,
  allowed: "true or false",
  parse: (text) => {
    if (/^(true|1)$/i.test(text)) return true
    return /^(false|0|)$/i.test(text) ? false : undefined
  },
  otherwise
})

/** Whole numbers; null where nothing is said. */
const count = (name: string, least: number, most: number, about: string): Setting<number | null> => ({
  variable: `${prefix}${name}`,
  about,
  allowed: `a whole number from ${least} to ${most}`,
  parse: (text) => {
    const number = /^[0-9]{1,6}$/.test(text) ? Number(text) : NaN
    return number >= least && number <= most ? number : undefined
  },
  otherwise: null
})

const size = (name: string, about: string): Setting<number | null> => ({
  variable: `${prefix}${name}`,
  about,
  allowed: "a size such as 512M or 11G",
  parse: (text) => Size.parse(text) ?? undefined,
  otherwise: null
})

/** More cores than any machine has; above, a number is a mistake. */
const coresMax = 4096

/** More tries than this only keep a machine busy with what never comes to an end. */
const restartsMax = 10

export const table = {
  reuseBuilds: flag("REUSE_BUILDS", true, "answer with a finished build of the same, or with its failure"),
  reuseBuildFailures: flag("REUSE_BUILD_FAILURES", true, "answer with a recorded failure of the same, and its log"),
  reuseBuildTimeouts: flag(
    "REUSE_BUILD_TIMEOUTS",
    false,
    "answer with a recorded timeout of the same, if it was given at least as long"
  ),
  keepBuildsRunning: flag("KEEP_BUILDS_RUNNING", false, "let builds go on when nobody waits for them any more"),
  buildRestartsMax: count(
    "MAX_BUILD_RESTARTS",
    0,
    restartsMax,
    "how often a build whose machine was lost is started again"
  ),
  coresMin: count("MIN_CPU", 1, coresMax, "cores that a build gets at least"),
  coresMax: count("MAX_CPU", 1, coresMax, "cores that a build gets at most"),
  coresDefault: count("DEFAULT_CPU", 1, coresMax, "cores for a build of which nothing is known"),
  memoryBytesMin: size("MIN_MEM", "memory that a build gets at least"),
  memoryBytesMax: size("MAX_MEM", "memory that a build gets at most, also when it ran out of it"),
  memoryBytesDefault: size("DEFAULT_MEM", "memory for a build of which nothing is known")
}

type Table = typeof table

export type Settings = {
  readonly [K in keyof Table]: Table[K] extends Setting<infer A> ? A : never
}

const all: ReadonlyArray<readonly [string, Setting<boolean | number | null>]> = Object.entries(table)

/** What holds for a client that says nothing. */
export const defaults: Settings = settingsOf(new Map())

/** A value of the client's, short enough for a line of log. */
const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)

/** By its variable; the values of a client whose variables are its own. Others than ours say nothing to us. */
export const read = (
  environment: ReadonlyMap<string, string>
): { readonly settings: Settings; readonly complaints: ReadonlyArray<string> } => {
  const values = new Map<string, boolean | number | null>()
  const complaints: Array<string> = []
  for (const [variable, text] of environment) {
    if (!variable.startsWith(prefix)) continue
    const [name, setting] = all.find(([, each]) => each.variable === variable) ?? []
    const value = setting?.parse(text)
    if (name !== undefined && value !== undefined) values.set(name, value)
    else complaints.push(`${variable}: ${setting === undefined ? "no such setting" : expected(setting, text)}; ignored`)
  }
  for (const [least, most] of [
    ["coresMin", "coresMax"],
    ["memoryBytesMin", "memoryBytesMax"]
  ] as const) {
    const [low, high] = [values.get(least), values.get(most)]
    if (typeof low !== "number" || typeof high !== "number" || low <= high) continue
    complaints.push(`${table[least].variable} is more than ${table[most].variable}; both ignored`)
    values.delete(least)
    values.delete(most)
  }
  return { settings: settingsOf(values), complaints }
}

const expected = ({ allowed }: Setting<unknown>, text: string) => `expected ${allowed}, found ${quoted(text)}`

/** The table's own names, each with the value that its own parser gave, or what holds otherwise. */
function settingsOf(values: ReadonlyMap<string, boolean | number | null>): Settings {
  return Object.fromEntries(
    all.map(([name, { otherwise }]) => [name, values.has(name) ? values.get(name) : otherwise])
  ) as Settings
}

/** What was kept of some, as JSON reads it. What is missing, or is none any more, is as for a client that says nothing. */
export const restore = (kept: { readonly [name: string]: unknown }): Settings => {
  const values = new Map<string, boolean | number | null>()
  for (const [name, { otherwise }] of all) {
    const value = kept[name]
    if (typeof value === "boolean" && typeof otherwise === "boolean") values.set(name, value)
    if (typeof value === "number" && Number.isInteger(value) && typeof otherwise !== "boolean") values.set(name, value)
  }
  return settingsOf(values)
}

/** The documentation's table: what each is for, what it may be, and what holds without it. */
export const documentation = (): string =>
  ["| Variable | May be | Otherwise | |", "|---|---|---|---|"]
    .concat(
      all.map(
        ([, { about, allowed, otherwise, variable }]) =>
          `| \`${variable}\` | ${allowed} | ${otherwise === null ? "as the service decides" : String(otherwise)} | ${about} |`
      )
    )
    .join("\n")
