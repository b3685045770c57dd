/**
 * A derivation: what to run, with which inputs, for which outputs.
 *
 * Arguments and environment are bytes; names of outputs and systems are ASCII in practice and text here.
 *
 * What is known of an output before it is built says what kind of derivation it is. Wherever derivations are
 * written, an output is three words, of which the empty ones tell the kinds apart:
 *
 *   path     method and algorithm   hash
 *   /nix/…                                   InputAddressed
 *   /nix/…   r:sha256               9f86…    Fixed
 *            r:sha256                        Floating
 *            r:sha256               impure   Impure
 *                                            Deferred: input-addressed by inputs that are not known yet
 *
 * @see Nix `src/libstore/derivations.cc`
 */
import { Schema } from "effect"
import * as Codec from "../wire/Codec.ts"
import * as Hash from "./Hash.ts"
import * as Store from "./StorePath.ts"
import { StorePath } from "./StorePath.ts"

/** How contents become an address: a flat file, a NAR, or text with references. */
export const Method = Schema.Literals(["flat", "nar", "text", "git"])
export type Method = typeof Method.Type

/** What is known of an output before it is built. */
export type Output =
  | { readonly _tag: "InputAddressed"; readonly path: StorePath }
  | {
      readonly _tag: "Fixed"
      readonly path: StorePath
      readonly method: Method
      readonly algorithm: Hash.Algorithm
      /** Lower-case hex. */
      readonly hash: string
    }
  | { readonly _tag: "Floating"; readonly method: Method; readonly algorithm: Hash.Algorithm }
  | { readonly _tag: "Impure"; readonly method: Method; readonly algorithm: Hash.Algorithm }
  | { readonly _tag: "Deferred" }

const address = { method: Method, algorithm: Hash.Algorithm }

// One case for each algorithm, since the length of the hash is the algorithm's.
const fixed = Hash.Algorithm.literals.map((algorithm) =>
  Schema.TaggedStruct("Fixed", {
    path: StorePath,
    method: Method,
    algorithm: Schema.Literal(algorithm),
    hash: Schema.String.check(Schema.isPattern(new RegExp(`^[0-9a-f]{${Hash.sizes[algorithm] * 2}}$`)))
  })
)

export const Output: Schema.Schema<Output> = Schema.Union([
  Schema.TaggedStruct("InputAddressed", { path: StorePath }),
  ...fixed,
  Schema.TaggedStruct("Floating", address),
  Schema.TaggedStruct("Impure", address),
  Schema.TaggedStruct("Deferred", {})
])

/** Nix lets an output be called whatever a store path may be, since it is part of one. */
export const OutputName = Store.Name

/** A derivation ready to run: its inputs are paths, not other derivations. */
export const BasicDerivation = Schema.Struct({
  /** Sorted by name, bytewise. */
  outputs: Schema.Array(Schema.Tuple([OutputName, Output])),
  /** Sorted bytewise. */
  inputSources: Schema.Array(StorePath),
  system: Codec.text.schema,
  builder: Schema.Uint8Array,
  arguments: Schema.Array(Schema.Uint8Array),
  /** Sorted by name, bytewise. */
  environment: Schema.Array(Schema.Tuple([Schema.Uint8Array, Schema.Uint8Array]))
})
export type BasicDerivation = typeof BasicDerivation.Type

/** What is wanted of an input derivation: outputs of it, and of the derivations that its outputs will turn out to be. */
export interface Wanted {
  /** Sorted bytewise. */
  readonly outputs: ReadonlyArray<string>
  /** Empty but for dynamic derivations. Sorted by output, bytewise. */
  readonly dynamic: ReadonlyArray<readonly [output: string, wanted: Wanted]>
}

/** A derivation as a `.drv` file has it. */
export interface Derivation extends BasicDerivation {
  /** Sorted by path, bytewise. */
  readonly inputDerivations: ReadonlyArray<readonly [path: StorePath, wanted: Wanted]>
}

/** What kind all outputs of a derivation are of; they cannot differ. */
export type Kind = Output["_tag"]

/** Fails where outputs are of several kinds, or there are none, or where there are several fixed ones. */
export const kind = ({ outputs }: Pick<BasicDerivation, "outputs">): Kind | Codec.WireError => {
  const kinds = new Set(outputs.map(([, output]) => output._tag))
  const [first] = kinds
  if (first === undefined || kinds.size > 1) {
    return new Codec.WireError({ expected: "outputs of one kind", found: [...kinds].join(", ") || "no outputs" })
  }
  if (first === "Fixed" && (outputs.length > 1 || outputs[0]?.[0] !== "out")) {
    return new Codec.WireError({
      expected: 'the one output "out" of a fixed-output derivation',
      found: outputs
        .map(([name]) => name)
        .join(", ")
        .slice(0, 300)
    })
  }
  return first
}

/** Whether it may have the network: what comes out is checked, or never shared. */
export const hasNetwork = (derivation: Pick<BasicDerivation, "outputs">): boolean =>
  derivation.outputs.some(([, output]) => output._tag === "Fixed" || output._tag === "Impure")

/** A variable of the environment. */
export const variable = (derivation: Pick<BasicDerivation, "environment">, name: string): Uint8Array | undefined => {
  const wanted = Buffer.from(name)
  return derivation.environment.find(([key]) => wanted.equals(key))?.[1]
}

/** The name of a derivation: its path's, without `.drv`. */
export const nameOf = (path: StorePath): string | Codec.WireError => {
  const name = Store.nameOf(path)
  return name.endsWith(".drv") && name.length > 4
    ? name.slice(0, -4)
    : new Codec.WireError({ expected: "the path of a derivation", found: path })
}

/** The name of the store path of an output: the derivation's own for `out`. */
export const outputPathName = (derivationName: string, output: string): string =>
  output === "out" ? derivationName : `${derivationName}-${output}`

const prefixes: { readonly [M in Method]: string } = { flat: "", nar: "r:", text: "text:", git: "git:" }

/** `r:sha256`: a method and an algorithm, as derivations spell them. */
export const printMethod = (method: Method, algorithm: Hash.Algorithm): string => `${prefixes[method]}${algorithm}`

export const parseMethod = (
  text: string
): { readonly method: Method; readonly algorithm: Hash.Algorithm } | Codec.WireError => {
  const colon = text.indexOf(":") + 1
  const method = Method.literals.find((method) => prefixes[method] === text.slice(0, colon))
  if (method === undefined) {
    return new Codec.WireError({ expected: "r:, text:, git: or none of them", found: text.slice(0, 100) })
  }
  const algorithm = Hash.parseAlgorithm(text.slice(colon))
  return algorithm instanceof Codec.WireError ? algorithm : { method, algorithm }
}

/** The three words of an output. */
export type Words = readonly [path: string, methodAndAlgorithm: string, hash: string]

export const printOutput = (output: Output): Words => {
  switch (output._tag) {
    case "InputAddressed":
      return [Store.print(output.path), "", ""]
    case "Fixed":
      return [Store.print(output.path), printMethod(output.method, output.algorithm), output.hash]
    case "Floating":
      return ["", printMethod(output.method, output.algorithm), ""]
    case "Impure":
      return ["", printMethod(output.method, output.algorithm), "impure"]
    case "Deferred":
      return ["", "", ""]
  }
}

/** Takes only what `printOutput` writes: a hash is lower-case hex. */
export const parseOutput = ([path, methodAndAlgorithm, hash]: Words): Output | Codec.WireError => {
  const wrong = new Codec.WireError({
    expected: "the path, method and hash of an output",
    found: JSON.stringify([path, methodAndAlgorithm, hash].map((word) => word.slice(0, 300)))
  })
  const parsed = path === "" ? null : Store.parse(path)
  if (parsed instanceof Codec.WireError) return parsed
  if (methodAndAlgorithm === "") {
    if (hash !== "") return wrong
    return parsed === null ? { _tag: "Deferred" } : { _tag: "InputAddressed", path: parsed }
  }
  const address = parseMethod(methodAndAlgorithm)
  if (address instanceof Codec.WireError) return address
  if (parsed === null) {
    return hash === "" ? { _tag: "Floating", ...address } : hash === "impure" ? { _tag: "Impure", ...address } : wrong
  }
  const isHash = hash.length === Hash.sizes[address.algorithm] * 2 && /^[0-9a-f]+$/.test(hash)
  return isHash ? { _tag: "Fixed", path: parsed, ...address, hash } : wrong
}
