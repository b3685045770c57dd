/**
 * What a derivation learns of the closures of its inputs when it asks for them (`exportReferencesGraph`).
 *
 * The text is one block for each path of a closure, in the order of base names: the path, an empty line for the deriver
 * that nobody tells, the number of references, and each of them.
 *
 * @see Nix `src/libstore/store-api.cc`, `makeValidityRegistration`, `pathInfoToJSON`
 */
import * as Hash from "../protocol/nix/Hash.ts"
import type { PathInfo } from "../protocol/nix/PathInfo.ts"
import * as Store from "../protocol/nix/StorePath.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"
import * as Attributes from "../protocol/nix/StructuredAttributes.ts"

export type Closure = ReadonlyMap<StorePath, PathInfo>

/** All that can be reached from the paths, sorted; null where one of them is not in the closure of the inputs. */
export const reachable = (closure: Closure, roots: ReadonlyArray<StorePath>): ReadonlyArray<PathInfo> | null => {
  const found = new Map<StorePath, PathInfo>()
  const pending = [...roots]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (found.has(path)) continue
    const info = closure.get(path)
    if (info === undefined) return null
    found.set(path, info)
    pending.push(...info.references)
  }
  return Store.sorted(found.keys()).flatMap((path) => found.get(path) ?? [])
}

export const print = (infos: ReadonlyArray<PathInfo>): string =>
  infos
    .map(({ path, references }) => [path, "", references.length, ...Store.sorted(references).map(Store.print)] as const)
    .map(([path, ...lines]) => `${[Store.print(path), ...lines].join("\n")}\n`)
    .join("")

/** The same as structured attributes have it. */
export const toJson = (closure: Closure, infos: ReadonlyArray<PathInfo>): Attributes.Json =>
  infos.map((info) =>
    Attributes.object([
      ["path", Store.print(info.path)],
      ["narHash", Hash.printNix32(Hash.sha256(info.narHash))],
      ["narSize", number(info.narSize)],
      ["references", Store.sorted(info.references).map(Store.print)],
      ["closureSize", number(closureSize(closure, info.path))],
      ...(info.contentAddress === "" ? [] : [["ca", info.contentAddress] as const])
    ])
  )

const number = (value: number) => new Attributes.Numeral(String(value))

const closureSize = (closure: Closure, path: StorePath) =>
  (reachable(closure, [path]) ?? []).reduce((sum, { narSize }) => sum + narSize, 0)
