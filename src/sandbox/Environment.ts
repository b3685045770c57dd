/**
 * The variables and files that a builder finds, from the environment of its derivation.
 *
 * Without structured attributes each attribute is a variable, but for those that are passed as files. With them there
 * are two files and no variables of the derivation's own. Placeholders for the derivation's own outputs are replaced
 * in all of it.
 *
 * @see Nix `src/libstore/derivation-env-desugar.cc`
 */
import * as Base32 from "../protocol/nix/Base32.ts"
import { type BasicDerivation, variable } from "../protocol/nix/Derivation.ts"
import * as Hash from "../protocol/nix/Hash.ts"
import * as Store from "../protocol/nix/StorePath.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"
import * as Placeholder from "../protocol/nix/Placeholder.ts"
import * as Attributes from "../protocol/nix/StructuredAttributes.ts"
import { WireError } from "../protocol/wire/Codec.ts"
import * as ReferencesGraph from "./ReferencesGraph.ts"

export interface File {
  readonly name: string
  readonly contents: Uint8Array
}

export type Rewrite = (bytes: Uint8Array) => Uint8Array

/** Where the builder finds its directory. */
const buildDirectory = "/build"

/** What placeholders look like: none can begin within another. */
const placeholder = /\/[0-9a-df-np-sv-z]{52}/g

/**
 * Replaces each placeholder by another text, wherever it occurs, in one pass however many there are. Bytes stay bytes:
 * Latin-1 is one character for each.
 */
export const rewriter = (replacements: Iterable<readonly [placeholder: string, text: string]>): Rewrite => {
  const texts = new Map(replacements)
  return (bytes) => {
    const text = Buffer.from(bytes).toString("latin1")
    const rewritten = text.replace(placeholder, (found) => texts.get(found) ?? found)
    return rewritten === text ? bytes : Buffer.from(rewritten, "latin1")
  }
}

/** Up to the first NUL, which is where a program would end it. */
export const cString = (bytes: Uint8Array): Uint8Array => {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}

const bytes = (text: string): Uint8Array => Buffer.from(text)

const words = (value: Uint8Array | undefined): ReadonlyArray<string> =>
  value === undefined
    ? []
    : Buffer.from(value)
        .toString()
        .split(/\s+/)
        .filter((word) => word !== "")

const passedAsFile = (derivation: BasicDerivation) => new Set(words(variable(derivation, "passAsFile")))

const fileNameOf = (attribute: string) => `.attr-${Base32.encode(Buffer.from(Hash.digest("sha256", attribute), "hex"))}`

const isStructured = (derivation: BasicDerivation) => variable(derivation, "__json") !== undefined

/** Sorted bytewise by name; of two of one name the later in Nix's order wins. */
export const variables = (
  derivation: BasicDerivation,
  options: {
    readonly cores: number
    readonly isFixed: boolean
    readonly impure: ReadonlyMap<string, string>
    readonly rewrite: Rewrite
  }
): ReadonlyArray<readonly [name: Uint8Array, value: Uint8Array]> => {
  const found = new Map<string, readonly [name: Uint8Array, value: Uint8Array]>()
  const set = (name: Uint8Array, value: Uint8Array) => {
    found.set(Buffer.from(name).toString("latin1"), [cString(name), cString(value)])
  }
  const setText = (name: string, value: string) => set(bytes(name), bytes(value))

  setText("PATH", "/path-not-set")
  setText("HOME", "/homeless-shelter")
  setText("NIX_STORE", Store.storeDir)
  setText("NIX_BUILD_CORES", `${options.cores}`)
  if (isStructured(derivation)) {
    setText("NIX_ATTRS_JSON_FILE", `${buildDirectory}/.attrs.json`)
    setText("NIX_ATTRS_SH_FILE", `${buildDirectory}/.attrs.sh`)
  } else {
    const asFile = passedAsFile(derivation)
    for (const [name, value] of derivation.environment) {
      const text = Buffer.from(name).toString()
      if (asFile.has(text)) setText(`${text}Path`, `${buildDirectory}/${fileNameOf(text)}`)
      else set(name, options.rewrite(value))
    }
  }
  for (const name of ["NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"]) setText(name, buildDirectory)
  if (options.isFixed) {
    setText("NIX_OUTPUT_CHECKED", "1")
    for (const name of impureNames(derivation)) setText(name, options.impure.get(name) ?? "")
  }
  setText("NIX_LOG_FD", "2")
  setText("TERM", "xterm-256color")
  return [...found.values()].sort(([a], [b]) => Buffer.compare(a, b))
}

const impureNames = (derivation: BasicDerivation): ReadonlyArray<string> => {
  const json = attributesOf(derivation)
  if (json === null) return words(variable(derivation, "impureEnvVars"))
  return json instanceof WireError ? [] : (Attributes.strings(json.get("impureEnvVars")) ?? [])
}

/** Null without structured attributes. */
const attributesOf = (derivation: BasicDerivation): Attributes.JsonObject | WireError | null => {
  const json = variable(derivation, "__json")
  return json === undefined ? null : Attributes.parse(Buffer.from(json).toString())
}

/** Files in the build directory, or what is wrong with the attributes that ask for them. */
export const attributeFiles = (
  derivation: BasicDerivation,
  closure: ReferencesGraph.Closure,
  rewrite: Rewrite
): ReadonlyArray<File> | string => {
  try {
    return filesOf(derivation, new ReferencesGraph.Graphs(closure), rewrite)
  } catch (error) {
    if (error instanceof WireError) return error.message
    throw error
  }
}

const filesOf = (
  derivation: BasicDerivation,
  graphs: ReferencesGraph.Graphs,
  rewrite: Rewrite
): ReadonlyArray<File> | string => {
  const json = attributesOf(derivation)
  if (json instanceof WireError) return json.message
  if (json !== null) return structuredFiles(derivation, json, graphs, rewrite)
  const asFile = passedAsFile(derivation)
  const passed = derivation.environment.flatMap(([name, value]) => {
    const text = Buffer.from(name).toString()
    return asFile.has(text) ? [{ name: fileNameOf(text), contents: rewrite(value) }] : []
  })
  const wanted = graphFiles(words(variable(derivation, "exportReferencesGraph")), graphs)
  return typeof wanted === "string" ? wanted : [...passed, ...wanted]
}

/** Of a file, as file systems have it. */
const nameBytesMax = 255

/** Pairs of the name of a file and the path whose closure is written to it. */
const graphFiles = (pairs: ReadonlyArray<string>, graphs: ReferencesGraph.Graphs): ReadonlyArray<File> | string => {
  if (pairs.length % 2 !== 0) return "odd number of tokens in 'exportReferencesGraph'"
  const files = new Map<string, File>()
  for (let index = 0; index < pairs.length; index += 2) {
    const [name = "", root = ""] = pairs.slice(index)
    if (name.length > nameBytesMax || !/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name))
      return `invalid file name '${name.slice(0, nameBytesMax)}' in 'exportReferencesGraph'`
    const infos = graph([root], graphs)
    if (typeof infos === "string") return infos
    files.set(name, { name, contents: bytes(ReferencesGraph.print(infos)) })
  }
  return [...files.values()]
}

const graph = (roots: ReadonlyArray<string>, graphs: ReferencesGraph.Graphs) => {
  const paths: Array<StorePath> = []
  for (const root of roots) {
    // What is below a path means the path.
    const path = Store.parse(root.split("/").slice(0, 4).join("/"))
    if (path instanceof WireError) return `'exportReferencesGraph' contains a non-store path '${root}'`
    paths.push(path)
  }
  return (
    graphs.reachable(paths) ??
    `cannot export references of path '${roots.join(" ")}' because it is not in the input closure of the derivation`
  )
}

const structuredFiles = (
  derivation: BasicDerivation,
  json: Attributes.JsonObject,
  graphs: ReferencesGraph.Graphs,
  rewrite: Rewrite
): ReadonlyArray<File> | string => {
  const outputs = derivation.outputs.map(([name]) => [name, Placeholder.ofOutput(name)] as const)
  const attributes = new Map(json).set("outputs", Attributes.object(outputs))
  const wanted = json.get("exportReferencesGraph")
  for (const [name, roots] of Attributes.isObject(wanted) ? wanted : []) {
    const infos = graph(Attributes.strings(roots) ?? [], graphs)
    if (typeof infos === "string") return infos
    attributes.set(name, graphs.toJson(infos))
  }
  const all = Attributes.object(attributes)
  return [
    { name: ".attrs.json", contents: rewrite(bytes(Attributes.print(all))) },
    { name: ".attrs.sh", contents: rewrite(bytes(Attributes.printShell(all))) }
  ]
}
