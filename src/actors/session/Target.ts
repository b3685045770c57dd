/**
 * What a client asks for by path: whether it is there, and what there is of it.
 *
 * Nothing is made here. A path that is not there is not known of, since nothing is substituted; a derivation whose
 * outputs are not there would have to be built, which by a derivation's path alone comes later.
 */
import { Effect } from "effect"
import type { ViewId } from "../../domain/View.ts"
import type { BuildResult, BuiltOutput } from "../../protocol/nix/BuildResult.ts"
import type { Derivation } from "../../protocol/nix/Derivation.ts"
import { type DerivedPath, print } from "../../protocol/nix/DerivedPath.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import { unknownHash } from "../../protocol/worker/BuildResult.ts"
import { ViewRepository } from "../../storage/ViewRepository.ts"
import { notBuilt } from "./BuildAnswer.ts"
import * as DerivationFile from "./DerivationFile.ts"

/** `Unknown`: not there, and nothing here says how to make it. `Missing`: a derivation here does. */
export type Found =
  | { readonly _tag: "Valid"; readonly outputs: ReadonlyArray<BuiltOutput> }
  | { readonly _tag: "Missing"; readonly derivation: StorePath }
  | { readonly _tag: "Unknown"; readonly path: StorePath }

/** Null for an output whose path is known only once it is built. */
export const outputsOf = ({
  outputs
}: Pick<Derivation, "outputs">): ReadonlyArray<readonly [string, StorePath | null]> =>
  outputs.map(([name, output]) => [name, "path" in output ? output.path : null])

export const find = Effect.fnUntraced(function* (view: ViewId, target: DerivedPath) {
  const views = yield* ViewRepository
  const path = target._tag === "Opaque" ? target.path : target.derivation
  const [known] = yield* views.valid(view, [path])
  if (known === undefined) return { _tag: "Unknown", path } satisfies Found
  if (target._tag === "Opaque") return { _tag: "Valid", outputs: [] } satisfies Found
  const missing: Found = { _tag: "Missing", derivation: path }
  if (target.via.length > 0) return missing
  const wanted = outputsOf(yield* DerivationFile.read(view, path)).filter(
    ([name]) => target.outputs === "all" || target.outputs.includes(name)
  )
  const outputs = wanted.flatMap(([name, path]) =>
    path === null ? [] : [{ name, path, hash: unknownHash, signatures: [] }]
  )
  const valid = yield* views.valid(
    view,
    outputs.map(({ path }) => path)
  )
  const isThere = outputs.length === wanted.length && outputs.every(({ path }) => valid.includes(path))
  return isThere ? ({ _tag: "Valid", outputs } satisfies Found) : missing
})

/** As the result of a build that was asked for. */
export const result = Effect.fnUntraced(function* (view: ViewId, target: DerivedPath) {
  const found: Found = yield* find(view, target)
  const text = print(target)
  switch (found._tag) {
    case "Valid":
      return { ...notBuilt("AlreadyValid", ""), builtOutputs: found.outputs } satisfies BuildResult
    case "Unknown":
      return notBuilt("NoSubstituters", `path '${text}' does not exist in the store and cannot be created`)
    case "Missing":
      return notBuilt(
        "MiscFailure",
        `cannot build '${text}': remote store builds are not supported yet; use the server in 'builders'`
      )
  }
})
