/**
 * Which path an output turned out to be, in the three forms it has had.
 *
 * Up to 1.38 as it stands, an output is named by a hash of its derivation and the whole travels as
 * JSON; with the feature `realisation-with-path-not-hash`, by the derivation's path, in plain fields.
 *
 * @see Nix `src/libstore/worker-protocol.cc`, `Realisation`
 */
import * as Nix from "../nix/Realisation.ts"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { OutputName } from "./Derivation.ts"
import { Signatures } from "./PathInfo.ts"
import { withFeature } from "./Version.ts"

export const OutputId: Codec.Codec<Nix.OutputId> = Codec.refine(Codec.textUpTo(512), {
  grammar: "output-id",
  schema: Nix.OutputId,
  to: Nix.printId,
  from: Nix.parseId
})

export const RealisationJson: Codec.Codec<Nix.Realisation> = Codec.refine(Codec.text, {
  grammar: "realisation-json",
  schema: Nix.Realisation,
  to: Nix.printJson,
  from: Nix.parseJson
})

const Bare = Codec.struct({ id: OutputId, outPath: StorePath.wire })

const realisation: Codec.Codec<Nix.Realisation> = Variant.layouts(
  Variant.from(0x011f),
  RealisationJson,
  Codec.refine(Bare, {
    grammar: Bare.grammar,
    schema: Nix.Realisation,
    to: (value) => value,
    from: (wire) => ({ ...wire, signatures: [], dependentRealisations: [] })
  })
)

/** Where the output is known from what was asked. */
export const UnkeyedRealisation = Codec.named(
  "UnkeyedRealisation",
  Codec.struct({ outPath: StorePath.wire, signatures: Signatures })
)

const keyed: Codec.Codec<Nix.KeyedRealisation> = Codec.struct({
  derivation: StorePath.wire,
  output: OutputName,
  outPath: StorePath.wire,
  signatures: Signatures
})

/** One or the other, by the feature. */
export const Realisation = Codec.named(
  "Realisation",
  Variant.dialects(withFeature("realisation-with-path-not-hash"), keyed, realisation)
)
