/**
 * Which paths the outputs of a derivation have, and whether a derivation says so truly.
 *
 * The path of an input-addressed output is a hash of all that goes into it: the derivation's file, in which the path
 * of each input derivation is replaced by that one's hash modulo, and so on down. A fixed-output derivation's hash
 * modulo depends on what comes out of it alone, so that another place to fetch it from changes nothing.
 *
 *   Fixed      what comes out is known by its hash
 *   Regular    its paths follow from its inputs
 *   Deferred   content-addressed, or depends on what is: paths are known once inputs are built
 *
 * Nothing of this can be checked of a derivation that came without its inputs, as a remote builder gets it.
 *
 * @see Nix `src/libstore/derivations.cc`, `hashDerivationModulo`
 */
import { WireError } from "../wire/Codec.ts"
import * as Aterm from "./Aterm.ts"
import * as ContentAddress from "./ContentAddress.ts"
import { type BasicDerivation, type Derivation, kind, nameOf, outputPathName, printMethod } from "./Derivation.ts"
import * as Hash from "./Hash.ts"
import * as Store from "./StorePath.ts"
import type { StorePath } from "./StorePath.ts"

/** What a derivation is in the hash of those that use it. */
export interface Modulo {
  readonly kind: "Fixed" | "Regular" | "Deferred"
  readonly hash: Hash.Sha256
  readonly outputs: ReadonlySet<string>
}

/** Of all input derivations. */
export type Inputs = ReadonlyMap<StorePath, Modulo>

/** What a derivation counts as for others. */
export const modulo = (name: string, derivation: Derivation, inputs: Inputs): Modulo | WireError =>
  hashed(name, derivation, inputs, false)

/** What names a derivation's outputs in realisations, up to Nix 2.34. */
export const realisationHash = (name: string, derivation: Derivation, inputs: Inputs): Hash.Sha256 | WireError => {
  const masked = hashed(name, derivation, inputs, true)
  return masked instanceof WireError ? masked : masked.hash
}

/** As `realisationHash`, of a derivation whose inputs are paths: nothing more need be known. */
export const basicRealisationHash = (name: string, derivation: BasicDerivation): Hash.Sha256 | WireError =>
  realisationHash(name, { ...derivation, inputDerivations: [] }, new Map())

/** The path of a derivation's own file. */
export const derivationPath = (name: string, derivation: Derivation): StorePath | WireError => {
  const references = [...derivation.inputSources, ...derivation.inputDerivations.map(([path]) => path)]
  return ContentAddress.textPath(`${name}.drv`, Aterm.print(derivation), references)
}

/** The path that each output must have; null where it is not known before it is built. */
export const expected = (
  name: string,
  derivation: Derivation,
  inputs: Inputs
): ReadonlyArray<readonly [output: string, path: StorePath | null]> | WireError => {
  const masked = hashed(name, derivation, inputs, true)
  if (masked instanceof WireError) return masked
  const paths: Array<readonly [string, StorePath | null]> = []
  for (const [output, form] of derivation.outputs) {
    const pathName = outputPathName(name, output)
    const path =
      form._tag === "Fixed"
        ? fixedPath(pathName, form)
        : masked.kind === "Deferred"
          ? null
          : Store.make(`output:${output}`, masked.hash, pathName)
    if (path instanceof WireError) return path
    paths.push([output, path])
  }
  return paths
}

/** Checks one derivation of which all inputs have been checked: its own path, its outputs', and those in its environment. */
export const check = (path: StorePath, derivation: Derivation, inputs: Inputs): Modulo | WireError => {
  const name = nameOf(path)
  if (name instanceof WireError) return name
  const own = derivationPath(name, derivation)
  if (own !== path) return own instanceof WireError ? own : mismatch(path, own, path)
  const paths = expected(name, derivation, inputs)
  if (paths instanceof WireError) return paths
  const outputs = new Map(derivation.outputs)
  // Looked up, not searched: both may be as many as a file holds.
  const environment = new Map(derivation.environment.map(([name, value]) => [textOf(name), textOf(value)]))
  for (const [output, right] of paths) {
    const said = outputs.get(output)
    const claimed = said !== undefined && "path" in said ? said.path : null
    if (claimed !== right) {
      return mismatch(`${path}!${output}`, right ?? "no path, since its inputs' are not known", claimed ?? "none")
    }
    if (right === null) continue
    const told = environment.get(output)
    // With structured attributes the builder is told in another way.
    if (told === undefined && environment.has("__json")) continue
    if (told !== Store.print(right)) {
      return mismatch(`${output} in the environment of ${path}`, Store.print(right), told ?? "nothing")
    }
  }
  return modulo(name, derivation, inputs)
}

/**
 * Checks derivations that use one another and nothing else, inputs first. What is returned is true of all of them,
 * so that further ones may be checked by `check`.
 */
export const checkClosure = (derivations: ReadonlyMap<StorePath, Derivation>): Inputs | WireError => {
  const checked = new Map<StorePath, Modulo>()
  const begun = new Set<StorePath>()
  for (const root of derivations.keys()) {
    // Not recursive: how deep a closure is, is the client's choice.
    const pending = [root]
    for (let path = pending.at(-1); path !== undefined; path = pending.at(-1)) {
      const derivation = derivations.get(path)
      if (derivation === undefined)
        return new WireError({ expected: `the derivation ${path}`, found: "none by this path" })
      const missing = checked.has(path)
        ? []
        : derivation.inputDerivations.map(([input]) => input).filter((input) => !checked.has(input))
      if (missing.length > 0) {
        if (begun.has(path)) return new WireError({ expected: "derivations without cycles", found: path })
        begun.add(path)
        for (const input of missing) pending.push(input)
        continue
      }
      pending.pop()
      if (checked.has(path)) continue
      const result = check(path, derivation, checked)
      if (result instanceof WireError) return result
      checked.set(path, result)
    }
  }
  return checked
}

/** The path of contents whose hash is known beforehand. */
export const fixedPath = (
  name: string,
  {
    algorithm,
    hash,
    method
  }: {
    readonly method: ContentAddress.ContentAddress["method"]
    readonly algorithm: Hash.Algorithm
    readonly hash: string
  }
): StorePath | WireError =>
  ContentAddress.storePath(name, { method, hash: { algorithm, hex: hash } }, ContentAddress.none)

const hashed = (name: string, derivation: Derivation, inputs: Inputs, masked: boolean): Modulo | WireError => {
  const outputs = new Set(derivation.outputs.map(([output]) => output))
  const which = kind(derivation)
  if (which instanceof WireError) return which
  if (which === "Impure") return { kind: "Deferred", hash: Hash.digestSha256("impure"), outputs }
  const [, first] = derivation.outputs[0] ?? []
  if (first?._tag === "Fixed") {
    const said = `fixed:out:${printMethod(first.method, first.algorithm)}:${first.hash}:${Store.print(first.path)}`
    return { kind: "Fixed", hash: Hash.digestSha256(said), outputs }
  }
  let isDeferred = which !== "InputAddressed"
  const byHash = new Map<string, Set<string>>()
  for (const [path, wanted] of derivation.inputDerivations) {
    const input = inputs.get(path)
    if (input === undefined)
      return new WireError({ expected: `the derivation ${path}, an input of ${name}`, found: "none" })
    isDeferred ||= input.kind === "Deferred" || wanted.dynamic.length > 0
    const merged = byHash.get(input.hash) ?? new Set()
    byHash.set(input.hash, merged)
    for (const output of wanted.outputs) {
      if (!input.outputs.has(output)) return new WireError({ expected: `an output of ${path}`, found: output })
      merged.add(output)
    }
  }
  const replaced = [...byHash].map(([hash, outputs]) => [hash, { outputs: [...outputs].sort(), dynamic: [] }] as const)
  const file = Aterm.serialise(derivation, replaced, { masked })
  return { kind: isDeferred ? "Deferred" : "Regular", hash: Hash.digestSha256(file), outputs }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

const mismatch = (what: string, right: string, found: string) =>
  new WireError({ expected: `${what} to be ${right}`, found: found.slice(0, 300) })
