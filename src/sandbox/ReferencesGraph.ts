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
import { WireError } from "../protocol/wire/Codec.ts"

export type Closure = ReadonlyMap<StorePath, PathInfo>

/** Bytes of all that one derivation learns: a derivation may ask for the closure of each input again and again. */
const bytesMax = 16 * 1024 * 1024

/** References that are followed for it, which takes a second: so is a closure's size looked for from each of its paths. */
const stepsMax = 20_000_000

/** What JSON has of a path beyond its name and its references. */
const memberBytes = 256

/** Closures within that of one derivation's inputs. All of them together have bounds, beyond which a `WireError` is thrown. */
export class Graphs {
  readonly #closure: Closure
  readonly #sizes = new Map<StorePath, number>()
  #bytes = 0
  #steps = 0

  constructor(closure: Closure) {
    this.#closure = closure
  }

  /** All that can be reached from the paths, sorted; null where one of them is not in the closure of the inputs. */
  reachable(roots: ReadonlyArray<StorePath>): ReadonlyArray<PathInfo> | null {
    const found = this.#walk(roots)
    if (found === null) return null
    for (const { path, references } of found.values()) {
      this.#bytes += memberBytes + [path, ...references].reduce((sum, each) => sum + Store.print(each).length + 1, 0)
      if (this.#bytes > bytesMax) throw tooMuch(`at most ${bytesMax} bytes`)
    }
    return Store.sorted(found.keys()).flatMap((path) => found.get(path) ?? [])
  }

  /** The same as `print`, as structured attributes have it. */
  toJson(infos: ReadonlyArray<PathInfo>): Attributes.Json {
    return infos.map((info) =>
      Attributes.object([
        ["path", Store.print(info.path)],
        ["narHash", Hash.printNix32(Hash.sha256(info.narHash))],
        ["narSize", number(info.narSize)],
        ["references", Store.sorted(info.references).map(Store.print)],
        ["closureSize", number(this.#closureSize(info.path))],
        ...(info.contentAddress === "" ? [] : [["ca", info.contentAddress] as const])
      ])
    )
  }

  #walk(roots: ReadonlyArray<StorePath>): ReadonlyMap<StorePath, PathInfo> | null {
    const found = new Map<StorePath, PathInfo>()
    const pending = [...roots]
    for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
      if (found.has(path)) continue
      const info = this.#closure.get(path)
      if (info === undefined) return null
      found.set(path, info)
      this.#steps += 1 + info.references.length
      if (this.#steps > stepsMax) throw tooMuch(`at most ${stepsMax} references to follow`)
      for (const reference of info.references) pending.push(reference)
    }
    return found
  }

  #closureSize(path: StorePath): number {
    const known = this.#sizes.get(path)
    if (known !== undefined) return known
    let size = 0
    for (const { narSize } of this.#walk([path])?.values() ?? []) size += narSize
    this.#sizes.set(path, size)
    return size
  }
}

const tooMuch = (expected: string) =>
  new WireError({ expected: `${expected} in 'exportReferencesGraph'`, found: "more" })

export const print = (infos: ReadonlyArray<PathInfo>): string =>
  infos
    .map(({ path, references }) => [path, "", references.length, ...Store.sorted(references).map(Store.print)] as const)
    .map(([path, ...lines]) => `${[Store.print(path), ...lines].join("\n")}\n`)
    .join("")

const number = (value: number) => new Attributes.Numeral(String(value))
