/**
 * What a derivation says of the machine that is to build it: features, the sandbox, how it may be shared.
 *
 * Attributes stand in the environment or, with `__structuredAttrs`, in the one variable `__json`.
 */
import { Option, Schema } from "effect"
import type { BasicDerivation } from "../protocol/nix/Derivation.ts"

export interface Requirements {
  /** `requiredSystemFeatures`, and `ca-derivations` left out: every host here can do that. */
  readonly features: ReadonlyArray<string>
  /** It wants every core there is, as `big-parallel` says. */
  readonly isParallel: boolean
  /** It asks to run outside of any sandbox. */
  readonly isUnconfined: boolean
  /** Its outputs are never the same twice, by its own word. */
  readonly isImpure: boolean
  /** What its output must be is known, so it may use the network. */
  readonly isFixed: boolean
}

const decodeAttributes = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      requiredSystemFeatures: Schema.optionalKey(Schema.Unknown),
      __noChroot: Schema.optionalKey(Schema.Unknown)
    })
  )
)
const isTexts = Schema.is(Schema.Array(Schema.String))
const decoder = new TextDecoder()

export const of = (derivation: BasicDerivation): Requirements => {
  const variables = new Map(derivation.environment.map(([name, value]) => [decoder.decode(name), value]))
  const text = (name: string): string => decoder.decode(variables.get(name))
  const structured = variables.has("__json") ? Option.getOrElse(decodeAttributes(text("__json")), () => ({})) : null
  const {
    __noChroot,
    requiredSystemFeatures
  }: { readonly __noChroot?: unknown; readonly requiredSystemFeatures?: unknown } = structured ?? {
    __noChroot: text("__noChroot") === "1",
    requiredSystemFeatures: text("requiredSystemFeatures")
      .split(/\s+/)
      .filter((word) => word !== "")
  }
  const features = isTexts(requiredSystemFeatures) ? requiredSystemFeatures : []
  return {
    features: features.filter((feature) => feature !== "ca-derivations"),
    isParallel: features.includes("big-parallel"),
    isUnconfined: __noChroot === true,
    isImpure: derivation.outputs.some(([, output]) => output._tag === "Impure"),
    isFixed: derivation.outputs.some(([, output]) => output._tag === "Fixed")
  }
}
