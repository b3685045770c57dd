/**
 * Which worker protocol is spoken: a range of versions, and features by name.
 *
 * What two sides have agreed on is one number, the version in the low 16 bits and a bit above for
 * each feature, so that a codec needs to be told nothing else. Features exist only in 1.38, the last
 * version there is, so numbers still order by version.
 *
 * @see Nix `src/libstore/include/nix/store/worker-protocol.hh`
 */
import type { Version } from "../wire/Codec.ts"
import { printVersion, type When } from "../wire/Variant.ts"

/** What Nix 1.11 speaks. Older clients have other layouts, and nobody has them. */
export const oldest: Version = 0x010f

/** What Nix 2.24 and later speak. It may be announced to all: a client asks only for what it knows. */
export const newest: Version = 0x0126

/** The features we know, in the order of their bits. */
const features = ["realisation-with-path-not-hash", "delete-dead-specific-referrers"] as const
export type Feature = (typeof features)[number]

/** What we offer; without the first, Nix 2.35 and later build nothing content-addressed. */
export const offered: ReadonlyArray<Feature> = features

const bitOf = (feature: Feature): number => 1 << (16 + features.indexOf(feature))

/** The lower version, with those features that both sides named. */
export const agree = (
  ours: { readonly version: Version; readonly features: ReadonlyArray<string> },
  theirs: { readonly version: Version; readonly features: ReadonlyArray<string> }
): Version => {
  const version = Math.min(ours.version, theirs.version)
  const common = features.filter((feature) => ours.features.includes(feature) && theirs.features.includes(feature))
  return version < newest ? version : common.reduce((agreed, feature) => agreed | bitOf(feature), version)
}

export const has = (agreed: Version, feature: Feature): boolean => (agreed & bitOf(feature)) !== 0

/** For layouts that a feature changes. */
export const withFeature = (feature: Feature): When => ({
  label: `with ${feature}`,
  holds: (agreed) => has(agreed, feature)
})

/** `1.38`, or `1.38+realisation-with-path-not-hash`. */
export const print = (agreed: Version): string =>
  [printVersion(agreed), ...features.filter((feature) => has(agreed, feature))].join("+")
