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

/** What hosts are told apart by: it goes into messages, into the record, and into the name of every queue. */
const isWord = (text: string): boolean => /^[\x21-\x7e]{1,255}$/.test(text)

/** More than any host has. Without it, each request of a client could leave megabytes in the record. */
const featuresMax = 64

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

/** Why no host could ever have what is asked for, as what its derivation does; null for all that may be asked. */
export const refusal = ({ system }: Pick<BasicDerivation, "system">, needs: Requirements): string | null => {
  const { features, isUnconfined } = needs
  if (isUnconfined) return "has '__noChroot' set, but that's not allowed: every build here is sandboxed"
  if (features.length > featuresMax) {
    return `requires ${features.length} system features, and at most ${featuresMax} may be asked for`
  }
  const odd = [system, ...features].find((word) => !isWord(word))
  return odd === undefined
    ? null
    : `names a system or a feature in other words than printable ASCII, at most 255: ${JSON.stringify(odd.slice(0, 60))}`
}
