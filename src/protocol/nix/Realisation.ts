/**
 * Which path an output turned out to be.
 *
 * Up to Nix 2.34 the output is named by a hash of its derivation (`OutputPaths.ts` computes it) and the whole travels
 * as JSON; since 2.35, by the derivation's path. One store path may be the realisation of many outputs.
 *
 * @see Nix `src/libstore/realisation.cc`
 */
import { Result, Schema } from "effect"
import { WireError } from "../wire/Codec.ts"
import { OutputName } from "./Derivation.ts"
import { Sha256 } from "./Hash.ts"
import { SignatureText } from "./Signature.ts"
import { StorePath } from "./StorePath.ts"

/** An output, by what its derivation hashes to when the paths of its own outputs are left out. */
export const OutputId = Schema.Struct({ hash: Sha256, output: OutputName })
export type OutputId = typeof OutputId.Type

/** As named up to Nix 2.34. */
export const Realisation = Schema.Struct({
  id: OutputId,
  outPath: StorePath,
  /** Each `name:base64`. */
  signatures: Schema.Array(SignatureText),
  /** What the build of this one used, content-addressed itself; always empty from Nix 2.26 on. */
  dependentRealisations: Schema.Array(Schema.Tuple([OutputId, StorePath]))
})
export type Realisation = typeof Realisation.Type

/** As named since Nix 2.35, where both sides have the feature `realisation-with-path-not-hash`. */
export const KeyedRealisation = Schema.Struct({
  derivation: StorePath,
  output: OutputName,
  outPath: StorePath,
  signatures: Schema.Array(SignatureText)
})
export type KeyedRealisation = typeof KeyedRealisation.Type

const isSha256 = Schema.is(Sha256)
const isOutput = Schema.is(OutputName)

/** `sha256:<64 hex>!<output>` */
export const printId = ({ hash, output }: OutputId): string => `sha256:${hash}!${output}`

export const parseId = (text: string): OutputId | WireError => {
  const [, hash, output] = /^sha256:([^!]*)!([^]*)$/.exec(text) ?? []
  return isSha256(hash) && isOutput(output)
    ? { hash, output }
    : new WireError({ expected: "sha256:<hex>!<output>", found: JSON.stringify(text.slice(0, 300)) })
}

/** Compact, keys in order: what Nix writes. */
export const printJson = (realisation: Realisation): string =>
  JSON.stringify({ ...unsigned(realisation), signatures: [...realisation.signatures].sort() })

/** What a signature of it is of. */
export const fingerprint = (realisation: Realisation): string => JSON.stringify(unsigned(realisation))

const unsigned = ({ dependentRealisations, id, outPath }: Realisation) => ({
  dependentRealisations: Object.fromEntries(
    dependentRealisations.map(([id, path]) => [printId(id), path] as const).sort(([a], [b]) => (a < b ? -1 : 1))
  ),
  id: printId(id),
  outPath
})

/** Paths are base names here; both lists may be absent. */
const Json = Schema.Struct({
  id: Schema.String,
  outPath: StorePath,
  signatures: Schema.optionalKey(Schema.Array(SignatureText)),
  dependentRealisations: Schema.optionalKey(Schema.Record(Schema.String, StorePath))
})
const decodeJson = Schema.decodeUnknownResult(Schema.fromJsonString(Json))

export const parseJson = (text: string): Realisation | WireError => {
  const json = decodeJson(text)
  if (Result.isFailure(json)) {
    return new WireError({ expected: "a realisation as JSON", found: JSON.stringify(text.slice(0, 300)) })
  }
  const { dependentRealisations = {}, outPath, signatures = [] } = json.success
  const id = parseId(json.success.id)
  if (id instanceof WireError) return id
  const dependents: Array<readonly [OutputId, StorePath]> = []
  for (const [key, path] of Object.entries(dependentRealisations)) {
    const dependent = parseId(key)
    if (dependent instanceof WireError) return dependent
    dependents.push([dependent, path])
  }
  return { id, outPath, signatures, dependentRealisations: dependents }
}
