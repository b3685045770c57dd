/**
 * Operations that ask what a store has.
 *
 * `QueryPathInfo` is asked once for each path that is copied and waits for its answer each time;
 * `QueryValidPaths` begins every copy and may carry a hundred thousand paths.
 */
import { Schema } from "effect"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { OutputName } from "./Derivation.ts"
import { DerivedPath } from "./DerivedPath.ts"
import * as Operation from "./Operation.ts"
import { UnkeyedPathInfo } from "./PathInfo.ts"
import { OutputId, RealisationJson, UnkeyedRealisation } from "./Realisation.ts"
import { withFeature } from "./Version.ts"

const paths = Codec.set(StorePath.wire)

/** `{ path }`, as most questions are. */
export const OfPath = Codec.struct({ path: StorePath.wire })

export const IsValidPath = Operation.make(1, { request: OfPath, response: Codec.bool })

/** Only clients before 1.12 ask it. */
export const HasSubstitutes = Operation.make(3, { until: 0x010f, request: OfPath, response: Codec.bool })

/** Valid paths that refer to this one. */
export const QueryReferrers = Operation.make(6, { request: OfPath, response: paths })

export const QueryDeriver = Operation.make(18, { until: 0x0115, request: OfPath, response: StorePath.wireOptional })

/** What a substituter says of a path. */
const substitutable = {
  deriver: StorePath.wireOptional,
  references: paths,
  /** Bytes; zero when unknown. */
  downloadSize: Codec.natural,
  narSize: Codec.natural
}

export const SubstitutablePathInfo = Codec.named("SubstitutablePathInfo", Codec.struct(substitutable))

export const QuerySubstitutablePathInfo = Operation.make(21, {
  until: 0x0115,
  request: OfPath,
  response: Codec.option(SubstitutablePathInfo)
})

export const QueryDerivationOutputs = Operation.make(22, { until: 0x0115, request: OfPath, response: paths })

export const QueryAllValidPaths = Operation.make(23, { request: Codec.nothing, response: paths })

/** Null where the path is not valid. Before 1.17 that was an error, and there is no writing it. */
const infoOrNull = Variant.layouts(
  Variant.from(0x0111),
  Codec.option(UnkeyedPathInfo),
  Codec.refine(UnkeyedPathInfo, {
    grammar: UnkeyedPathInfo.grammar,
    schema: Schema.NullOr(UnkeyedPathInfo.schema),
    to: (info) => {
      if (info === null) throw new Codec.WireError({ expected: "a path info before 1.17", found: "null" })
      return info
    },
    from: (info) => info
  })
)

export const QueryPathInfo = Operation.make(26, { request: OfPath, response: infoOrNull })

export const QueryDerivationOutputNames = Operation.make(28, {
  until: 0x0115,
  request: OfPath,
  response: Codec.set(OutputName)
})

const isHashPart = /^[0-9abcdfghijklmnpqrsvwxyz]{32}$/

const HashPart = Codec.refine(Codec.textUpTo(255), {
  grammar: "hash-part",
  schema: Schema.String.check(Schema.isPattern(isHashPart)),
  to: (text) => text,
  from: (text) =>
    isHashPart.test(text) ? text : new Codec.WireError({ expected: "32 characters of a hash part", found: text })
})

export const QueryPathFromHashPart = Operation.make(29, {
  request: Codec.struct({ hashPart: HashPart }),
  response: StorePath.wireOptional
})

export const KeyedSubstitutablePathInfo = Codec.named(
  "KeyedSubstitutablePathInfo",
  Codec.struct({ path: StorePath.wire, ...substitutable })
)

/** With the content address each path is known to have; empty for none. */
const pathsWithAddress = Codec.map(StorePath.wire, Codec.text)

export const QuerySubstitutablePathInfos = Operation.make(30, {
  request: Variant.layouts(
    Variant.from(0x0116),
    pathsWithAddress,
    Codec.refine(paths, {
      grammar: paths.grammar,
      schema: pathsWithAddress.schema,
      to: (entries) => entries.map(([path]) => path),
      from: (wire) => wire.map((path) => [path, ""] as const)
    })
  ),
  response: Codec.list(KeyedSubstitutablePathInfo)
})

/** `substitute`: first fetch what is missing from wherever this store substitutes from. */
export const QueryValidPaths = Operation.make(31, {
  request: Codec.struct({ paths, substitute: Variant.since(0x011b, Codec.bool, false) }),
  response: paths
})

export const QuerySubstitutablePaths = Operation.make(32, { request: Codec.struct({ paths }), response: paths })

/** Derivations that could have made this path. */
export const QueryValidDerivers = Operation.make(33, { request: OfPath, response: paths })

export const NarFromPath = Operation.make(38, { request: OfPath, response: Codec.nothing, download: "nar" })

/** What making all this would take. */
export const QueryMissing = Operation.make(40, {
  since: 0x0113,
  request: Codec.struct({ targets: Codec.list(DerivedPath) }),
  response: Codec.struct({
    /** Derivations. */
    willBuild: paths,
    willSubstitute: paths,
    unknown: paths,
    /** Bytes. */
    downloadSize: Codec.natural,
    narSize: Codec.natural
  })
})

/** Null for an output whose path is known only after the build. */
export const QueryDerivationOutputMap = Operation.make(41, {
  since: 0x0116,
  request: OfPath,
  response: Codec.map(OutputName, StorePath.wireOptional)
})

const byFeature = withFeature("realisation-with-path-not-hash")

/** Before the feature, the answer is a list of one or none, and before 1.31 one of paths alone. */
export const QueryRealisation = Operation.make(43, {
  since: 0x011b,
  request: Variant.dialects(
    byFeature,
    Codec.struct({ derivation: StorePath.wire, output: OutputName }),
    Codec.struct({ id: OutputId })
  ),
  response: Variant.dialects(
    byFeature,
    Codec.option(UnkeyedRealisation),
    Variant.dialects(Variant.from(0x011f), Codec.list(RealisationJson), Codec.list(StorePath.wire))
  )
})
