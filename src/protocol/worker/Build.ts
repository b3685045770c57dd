/**
 * Operations that make something.
 *
 * A remote builder's client sends `BuildDerivation`, with its inputs resolved to paths. One that uses
 * the server as its store uploads derivations and asks for them by path.
 */
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { BuildResult, KeyedBuildResult } from "./BuildResult.ts"
import { BasicDerivation } from "./Derivation.ts"
import { DerivedPath } from "./DerivedPath.ts"
import * as Operation from "./Operation.ts"
import { OfPath } from "./Query.ts"

/** `check` builds again what is there, and compares. */
export const BuildMode = Codec.named("BuildMode", Variant.enumeration({ normal: 0, repair: 1, check: 2 }))
export type BuildMode = Codec.Codec.Type<typeof BuildMode>

const Targets = Codec.struct({ targets: Codec.list(DerivedPath), mode: BuildMode })

/** A build that fails is an error here, and says nothing of the others. */
export const BuildPaths = Operation.make(9, { request: Targets, response: Variant.ignored(Codec.u64, 1n) })

/** Makes it valid by substitution, if it is not. */
export const EnsurePath = Operation.make(10, { request: OfPath, response: Variant.ignored(Codec.u64, 1n) })

/** The derivation's own file need not be valid. A failed build is a result. */
export const BuildDerivation = Operation.make(36, {
  request: Codec.struct({ path: StorePath.wire, derivation: BasicDerivation, mode: BuildMode }),
  response: BuildResult
})

/** As `BuildPaths`, with a result for each. */
export const BuildPathsWithResults = Operation.make(46, {
  since: 0x0122,
  request: Targets,
  response: Codec.list(KeyedBuildResult)
})
