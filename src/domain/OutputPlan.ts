/**
 * Where a builder is told to put its outputs.
 *
 * An output whose path follows from its contents is put elsewhere first: at a path that the derivation alone decides,
 * so that a builder which writes its own path into its log writes the same at every attempt.
 */
import type { BasicDerivation } from "../protocol/nix/Derivation.ts"
import { outputPathName } from "../protocol/nix/Derivation.ts"
import { Sha256 } from "../protocol/nix/Hash.ts"
import { derivationName, make, type StorePath } from "../protocol/nix/StorePath.ts"
import type { WireError } from "../protocol/wire/Codec.ts"

export interface PlannedOutput {
  readonly name: string
  readonly path: StorePath
}

const noHash = Sha256.make("0".repeat(64))

/** In the order of the derivation. @see Nix `src/libstore/build/derivation-building-goal.cc`, `makeFallbackPath` */
export const of = (
  derivationPath: StorePath,
  derivation: Pick<BasicDerivation, "outputs">
): ReadonlyArray<PlannedOutput> | WireError => {
  const base = derivationName(derivationPath)
  const planned: Array<PlannedOutput> = []
  for (const [name, output] of derivation.outputs) {
    const path =
      "path" in output
        ? output.path
        : make(`rewrite:${derivationPath}:name:${name}`, noHash, outputPathName(base, name))
    if (typeof path !== "string") return path
    planned.push({ name, path })
  }
  return planned
}
