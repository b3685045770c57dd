/**
 * What stands in a derivation for paths that are not known when it is written.
 *
 * Each is a slash and 52 characters of nixbase32, as long as nothing else is: found and replaced before the builder
 * sees it.
 *
 * @see Nix `src/libstore/downstream-placeholder.cc`
 */
import { WireError } from "../wire/Codec.ts"
import * as Base32 from "./Base32.ts"
import { nameOf, outputPathName } from "./Derivation.ts"
import { compress, digest } from "./Hash.ts"
import { hashPart, type StorePath } from "./StorePath.ts"

/** The derivation's own output: `builtins.placeholder`. */
export const ofOutput = (output: string): string => `/${Base32.encode(digestOf(`nix-output:${output}`))}`

/**
 * An output of another derivation, whose path is known only once that is built. `outputs` has more than one name for
 * the output of a derivation that is itself an output, and so on.
 */
export const ofInput = (derivation: StorePath, outputs: readonly [string, ...Array<string>]): string | WireError => {
  const name = nameOf(derivation)
  if (name instanceof WireError) return name
  const [output, ...further] = outputs
  let hash = digestOf(`nix-upstream-output:${hashPart(derivation)}:${outputPathName(name, output)}`)
  for (const output of further) {
    hash = digestOf(`nix-computed-output:${Base32.encode(compress(hash, 20))}:${output}`)
  }
  return `/${Base32.encode(hash)}`
}

const digestOf = (text: string): Uint8Array => Buffer.from(digest("sha256", text), "hex")
