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

/** What JSON has of a path beyond its name and its references. */
const memberBytes = 256

/** Closures within that of one derivation's inputs. All of them together have bounds, beyond which a `WireError` is thrown. */
export class Graphs {
  readonly #closure: Closure
  /** Null until they are asked for, which few derivations do. */
  #sizes: ReadonlyMap<StorePath, number> | null = null
  #bytes = 0

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
    const sizes = (this.#sizes ??= closureSizes([...this.#closure.values()]))
    return infos.map((info) =>
      Attributes.object([
        ["path", Store.print(info.path)],
        ["narHash", Hash.printNix32(Hash.sha256(info.narHash))],
        ["narSize", number(info.narSize)],
        ["references", Store.sorted(info.references).map(Store.print)],
        ["closureSize", number(sizes.get(info.path) ?? 0)],
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
      for (const reference of info.references) pending.push(reference)
    }
    return found
  }
}

const tooMuch = (expected: string) =>
  new WireError({ expected: `${expected} in 'exportReferencesGraph'`, found: "more" })

export const print = (infos: ReadonlyArray<PathInfo>): string =>
  infos
    .map(({ path, references }) => [path, "", references.length, ...Store.sorted(references).map(Store.print)] as const)
    .map(([path, ...lines]) => `${[Store.print(path), ...lines].join("\n")}\n`)
    .join("")

/** Paths that are looked for at once, as bits of a row for each path: of ten thousand, in five megabytes. */
const columns = 4096

/**
 * The bytes that each path and all that it can reach have together. To walk the graph from each of them would hold up
 * everybody else, for seconds with some thousands and for minutes with more; here an edge is looked at once for many.
 */
const closureSizes = (infos: ReadonlyArray<PathInfo>): ReadonlyMap<StorePath, number> => {
  const ordered = referencesFirst(infos)
  const places = new Map(ordered.map(({ path }, place) => [path, place]))
  const narSizes = Float64Array.from(ordered, ({ narSize }) => narSize)
  const references = ordered.map(({ path, references }) =>
    references.flatMap((reference) => (reference === path ? [] : (places.get(reference) ?? [])))
  )
  const sizes = new Float64Array(ordered.length)
  const words = columns / 32
  // What comes before a block of columns reaches nothing in it.
  for (let first = 0; first < ordered.length; first += columns) {
    const sums = sumsOfBytes(narSizes.subarray(first, first + columns))
    const rows = new Int32Array((ordered.length - first) * words)
    for (let place = first; place < ordered.length; place++) {
      const row = (place - first) * words
      if (place < first + columns) rows[row + ((place - first) >> 5)]! |= 1 << (place & 31)
      for (const reference of references[place]!) {
        const other = (reference - first) * words
        for (let word = 0; other >= 0 && word < words; word++) rows[row + word]! |= rows[other + word]!
      }
      for (let word = 0; word < words; word++) {
        let left = rows[row + word]!
        for (let byte = 4 * word; left !== 0; byte++, left >>>= 8) sizes[place]! += sums[256 * byte + (left & 0xff)]!
      }
    }
  }
  return new Map(ordered.map(({ path }, place) => [path, sizes[place]!]))
}

/** For each eight sizes, and each choice of them that a byte can say: their sum. */
const sumsOfBytes = (sizes: Float64Array): Float64Array => {
  const sums = new Float64Array(Math.ceil(sizes.length / 8) * 256)
  for (let at = 0; at < sums.length; at++) {
    const chosen = at & 0xff
    const lowest = 8 * (at >> 8) + 31 - Math.clz32(chosen & -chosen)
    if (chosen !== 0) sums[at] = sums[at & (at - 1)]! + (sizes[lowest] ?? 0)
  }
  return sums
}

/** In an order in which what a path refers to comes before it. */
const referencesFirst = (infos: ReadonlyArray<PathInfo>): ReadonlyArray<PathInfo> => {
  const known = new Map(infos.map((info) => [info.path, info]))
  const begun = new Set<StorePath>()
  const ordered: Array<PathInfo> = []
  const pending: Array<{ readonly info: PathInfo; next: number }> = []
  const begin = (info: PathInfo | undefined) => {
    if (info === undefined || begun.has(info.path)) return
    begun.add(info.path)
    pending.push({ info, next: 0 })
  }
  for (const info of infos) {
    begin(info)
    for (let top = pending.at(-1); top !== undefined; top = pending.at(-1)) {
      const reference = top.info.references[top.next++]
      if (reference !== undefined) begin(known.get(reference))
      else ordered.push(pending.pop()!.info)
    }
  }
  return ordered
}

const number = (value: number) => new Attributes.Numeral(String(value))
