/**
 * What a derivation allows its outputs to be and to refer to.
 *
 * Rules stand in the environment, for all outputs, or with `__structuredAttrs` in `outputChecks`, for each. A rule
 * names store paths, or outputs of the same derivation.
 *
 * @see Nix `src/libstore/build/derivation-check.cc`
 */
import { Option, Schema } from "effect"
import { type BasicDerivation, variable } from "../protocol/nix/Derivation.ts"
import * as Store from "../protocol/nix/StorePath.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"

/** An output as it is judged, or a path that it can reach. */
export interface Judged {
  readonly path: StorePath
  readonly narSize: number
  readonly references: ReadonlyArray<StorePath>
}

const Rules = Schema.Struct({
  allowedReferences: Schema.optionalKey(Schema.Array(Schema.String)),
  allowedRequisites: Schema.optionalKey(Schema.Array(Schema.String)),
  disallowedReferences: Schema.optionalKey(Schema.Array(Schema.String)),
  disallowedRequisites: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Bytes of the output's NAR. */
  maxSize: Schema.optionalKey(Schema.Number),
  /** Bytes of all NARs of its closure. */
  maxClosureSize: Schema.optionalKey(Schema.Number),
  /** Whether an output counts among its own requisites. */
  ignoreSelfRefs: Schema.optionalKey(Schema.Boolean)
})
type Rules = typeof Rules.Type

const decodeAttributes = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      outputChecks: Schema.optionalKey(Schema.Record(Schema.String, Rules)),
      unsafeDiscardReferences: Schema.optionalKey(Schema.Record(Schema.String, Schema.Boolean))
    })
  )
)

export interface OutputChecks {
  readonly rules: (output: string) => Rules
  /** Whether what the output refers to is to be forgotten. */
  readonly discardsReferences: (output: string) => boolean
}

/** Null where the rules cannot be read. */
export const of = (derivation: BasicDerivation): OutputChecks | null => {
  const json = text(derivation, "__json")
  if (json === undefined) {
    const rules = inEnvironment(derivation)
    return { rules: () => rules, discardsReferences: () => false }
  }
  const attributes = Option.getOrNull(decodeAttributes(json))
  if (attributes === null) return null
  const { outputChecks = {}, unsafeDiscardReferences = {} } = attributes
  return {
    rules: (output) => own(outputChecks, output) ?? {},
    discardsReferences: (output) => own(unsafeDiscardReferences, output) ?? false
  }
}

/** Names are the derivation's, and may be those of an object's own members. */
const own = <A>(record: { readonly [name: string]: A }, name: string): A | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined

const text = (derivation: BasicDerivation, name: string): string | undefined => {
  const value = variable(derivation, name)
  return value === undefined ? undefined : new TextDecoder().decode(value)
}

const lists = ["allowedReferences", "allowedRequisites", "disallowedReferences", "disallowedRequisites"] as const

const inEnvironment = (derivation: BasicDerivation): Rules => {
  const words = lists.flatMap((name) => {
    const value = text(derivation, name)
    return value === undefined ? [] : [[name, value.split(/[ \t\n\r]+/).filter((word) => word !== "")] as const]
  })
  return { ...Object.fromEntries(words), ignoreSelfRefs: true }
}

/** Everything that can be reached from a path, itself included. */
const requisites = (from: Judged, known: ReadonlyMap<StorePath, Judged>): ReadonlyMap<StorePath, Judged> => {
  const reached = new Map([[from.path, from]])
  const next = [from]
  for (let each = next.pop(); each !== undefined; each = next.pop()) {
    for (const reference of each.references) {
      const found = known.get(reference)
      if (found === undefined || reached.has(reference)) continue
      reached.set(reference, found)
      next.push(found)
    }
  }
  return reached
}

/**
 * What is wrong with an output, in Nix's own words; null if nothing is. `outputs` are the paths of all of the
 * derivation's, by name; `known`: everything that an output may reach.
 */
export const check = (
  rules: Rules,
  output: Judged,
  outputs: ReadonlyMap<string, StorePath>,
  known: ReadonlyMap<StorePath, Judged>
): string | null => {
  const closure = requisites(output, known)
  const tooLarge = sizeProblem(rules, output, closure)
  if (tooLarge !== null) return tooLarge

  const reached = [...closure.keys()].filter((path) => !(rules.ignoreSelfRefs === true && path === output.path))
  for (const list of lists) {
    const words = rules[list]
    if (words === undefined) continue
    const named = words.map((word) => outputs.get(word) ?? Store.parse(word))
    const illegal = words.find((_, index) => typeof named[index] !== "string")
    if (illegal !== undefined) return `derivation contains an illegal reference specifier '${illegal}'`
    const paths = new Set<unknown>(named)
    const used = list.endsWith("Requisites") ? reached : output.references
    const bad = used.filter((path) => paths.has(path) === list.startsWith("disallowed"))
    if (bad.length > 0) {
      const shown = Store.sorted(bad).map((path) => `\n  ${Store.print(path)}`)
      return `output '${Store.print(output.path)}' is not allowed to refer to the following paths:${shown.join("")}`
    }
  }
  return null
}

const sizeProblem = (
  { maxClosureSize, maxSize }: Rules,
  { narSize, path }: Judged,
  closure: ReadonlyMap<StorePath, Judged>
): string | null => {
  if (maxSize !== undefined && narSize > maxSize) {
    return `path '${Store.print(path)}' is too large at ${narSize} bytes; limit is ${maxSize} bytes`
  }
  const size = [...closure.values()].reduce((sum, { narSize }) => sum + narSize, 0)
  if (maxClosureSize !== undefined && size > maxClosureSize) {
    return `closure of path '${Store.print(path)}' is too large at ${size} bytes; limit is ${maxClosureSize} bytes`
  }
  return null
}
