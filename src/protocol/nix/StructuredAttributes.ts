/**
 * The attributes of a derivation with `__structuredAttrs`: JSON in its variable `__json`, which a builder finds as
 * `.attrs.json`, and as `.attrs.sh` as far as a shell can hold them.
 *
 * Both are bit for bit what Nix writes, since a builder may copy them to its output: keys sorted bytewise, numbers in
 * the digits of the library that Nix reads and writes JSON with.
 *
 * @see Nix `src/libstore/derivation-options.cc`, `src/libstore/parsed-derivations.cc`
 */
import { WireError } from "../wire/Codec.ts"

/** A number, in the digits that Nix writes: a JavaScript number would lose some of them. */
export class Numeral {
  readonly digits: string
  constructor(digits: string) {
    this.digits = digits
  }
}

export type Json = null | boolean | string | Numeral | ReadonlyArray<Json> | JsonObject
/** By name, sorted bytewise. */
export type JsonObject = ReadonlyMap<string, Json>

/** Levels of lists and objects in each other. */
const depthMax = 64

/**
 * Characters of the text: people write a hundredth of it. To read it takes a hundred times its length in memory, and
 * nobody else is served meanwhile.
 */
export const charactersMax = 2 * 1024 * 1024

const byBytes = ([a]: readonly [string, Json], [b]: readonly [string, Json]) =>
  Buffer.compare(Buffer.from(a), Buffer.from(b))

export const object = (entries: Iterable<readonly [string, Json]>): JsonObject => new Map([...entries].sort(byBytes))

export const isObject = (value: Json | undefined): value is JsonObject => value instanceof Map

export const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

export const parse = (text: string): JsonObject | WireError => {
  const refused = (found: string) => new WireError({ expected: "an object of structured attributes", found })
  if (text.length > charactersMax) return refused(`${text.length} characters, more than ${charactersMax}`)
  let parsed: unknown
  try {
    // The third argument is newer than its type.
    parsed = JSON.parse(text, function (_name: string, value: unknown, context?: { readonly source?: string }) {
      if (typeof value !== "number") return value
      if (!Number.isFinite(value)) throw new RangeError("beyond every double")
      return new Numeral(digitsOf(context?.source ?? String(value)))
    })
  } catch {
    return refused("text that is no JSON, or a number beyond every double")
  }
  const value = from(parsed, 0)
  if (value === undefined) return refused(`more than ${depthMax} levels`)
  return isObject(value) ? value : refused("other JSON")
}

const integerMin = -(2n ** 63n)
const integerMax = 2n ** 64n - 1n

/** How a number is written that was read in these digits. */
const digitsOf = (source: string): string => {
  // Of more digits than the largest has, none is within; and a million of them take seconds to read.
  const integer = /^-?[0-9]{1,20}$/.test(source) ? BigInt(source) : null
  return integer !== null && integer >= integerMin && integer <= integerMax ? String(integer) : float(Number(source))
}

/** Digits before the point, beyond which a number is written with an exponent. */
const integerDigitsMax = 15

/** Zeros after the point and before the first digit, from which on it is written so too. */
const leadingZerosMax = 4

/** The fewest digits that say which double it is, always with a point or an exponent of two digits and a sign. */
const float = (value: number): string => {
  const [mantissa = "", exponent = ""] = Math.abs(value).toExponential().split("e")
  const sign = value < 0 || Object.is(value, -0) ? "-" : ""
  const digits = mantissa.replace(".", "")
  // Where the point stands, counted from before the first digit.
  const point = value === 0 ? 1 : Number(exponent) + 1
  if (point > integerDigitsMax || point <= -leadingZerosMax) {
    const power = String(Math.abs(point - 1)).padStart(2, "0")
    return `${sign}${mantissa}e${point > 0 ? "+" : "-"}${power}`
  }
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`
  if (point >= digits.length) return `${sign}${digits.padEnd(point, "0")}.0`
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
}

/** Undefined where it is too deep. */
const from = (value: unknown, depth: number): Json | undefined => {
  if (depth > depthMax) return undefined
  if (value === null || typeof value === "boolean" || typeof value === "string" || value instanceof Numeral)
    return value
  if (Array.isArray(value)) {
    const items = value.map((item) => from(item, depth + 1))
    return items.includes(undefined) ? undefined : items.filter((item) => item !== undefined)
  }
  const entries: Array<readonly [string, Json]> = []
  // Nothing else comes out of `JSON.parse`.
  for (const [name, member] of Object.entries(value as object)) {
    const item = from(member, depth + 1)
    if (item === undefined) return undefined
    entries.push([name, item])
  }
  return object(entries)
}

/** As `.attrs.json` has it. */
export const print = (value: Json): string => {
  if (value instanceof Numeral) return value.digits
  if (isList(value)) return `[${value.map(print).join(",")}]`
  if (isObject(value))
    return `{${[...value].map(([name, member]) => `${JSON.stringify(name)}:${print(member)}`).join(",")}}`
  return JSON.stringify(value)
}

/** As `.attrs.sh` has it: simple values, lists and objects of such, under names that a shell takes. */
export const printShell = (attributes: JsonObject): string =>
  [...attributes]
    .map(([name, value]) => (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? declaration(name, value) : ""))
    .join("")

const declaration = (name: string, value: Json): string => {
  const word = simple(value)
  if (word !== null) return `declare ${name}=${word}\n`
  if (isList(value)) {
    const words = value.map(simple)
    return words.includes(null) ? "" : `declare -a ${name}=(${words.map((word) => `${word} `).join("")})\n`
  }
  if (!isObject(value)) return ""
  const words = [...value].map(([key, member]) => [key, simple(member)] as const)
  return words.some(([, word]) => word === null)
    ? ""
    : `declare -A ${name}=(${words.map(([key, word]) => `[${quoted(key)}]=${word} `).join("")})\n`
}

/** A word of the shell, or null. Of numbers only whole ones are taken, as far as an `int` goes. */
const simple = (value: Json): string | null => {
  if (typeof value === "string") return quoted(value)
  if (value === null) return "''"
  if (typeof value === "boolean") return value ? "1" : ""
  if (!(value instanceof Numeral)) return null
  const number = Number(value.digits)
  if (!Number.isInteger(Math.fround(number)) && Number.isFinite(Math.fround(number))) return null
  if (/^-?[0-9]+$/.test(value.digits)) return String(BigInt.asIntN(32, BigInt(value.digits)))
  // What a processor makes of a double that is no `int`: on x86, always the least one.
  const isInt = Math.trunc(number) >= intMin && Math.trunc(number) <= -intMin - 1
  return String(isInt ? Math.trunc(number) : intMin)
}

const intMin = -(2 ** 31)

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** The strings of an attribute that is one or a list of them; null where it is anything else. */
export const strings = (value: Json | undefined): ReadonlyArray<string> | null => {
  if (value === undefined) return []
  if (typeof value === "string") return [value]
  if (!isList(value)) return null
  const texts = value.filter((item) => typeof item === "string")
  return texts.length === value.length ? texts : null
}
