/**
 * What a NAR holds and where: the form of Nix's `.ls` files.
 *
 * Names and targets are bytes in a NAR. Here they are text in which a byte that is not UTF-8
 * stands as a lone surrogate U+DC80–U+DCFF, so that every name survives the way there and back (`Name.ts`).
 *
 * @see Nix `src/libstore/nar-accessor.cc`, `listNar`
 */
import { WireError } from "../wire/Codec.ts"
import * as Grammar from "./Grammar.ts"
import * as Name from "./Name.ts"
import type { Visitor } from "./Reader.ts"

export type Listing = Regular | Symlink | Directory

export interface Regular {
  readonly type: "regular"
  /** Bytes. */
  readonly size: number
  readonly executable: boolean
  /** Where the contents begin in the NAR. */
  readonly narOffset: number
}

export interface Symlink {
  readonly type: "symlink"
  readonly target: string
}

export interface Directory {
  readonly type: "directory"
  /** Has no prototype, so that every name is only a name. Its order means nothing: see `entriesOf`. */
  readonly entries: { readonly [name: string]: Listing }
}

/** The entries in the order of a NAR. JavaScript has objects in another: `10` before `9`, and both before `!`. */
export const entriesOf = (directory: Directory): ReadonlyArray<readonly [name: string, entry: Listing]> => {
  const entries = Object.entries(directory.entries)
  // Nearly every listing is read as it was written.
  return isSorted(entries) ? entries : entries.sort(([a], [b]) => Name.compare(a, b))
}

const isSorted = (entries: ReadonlyArray<readonly [name: string, entry: Listing]>): boolean => {
  for (let index = 1; index < entries.length; index++) {
    if (Name.compare(entries[index - 1]![0], entries[index]![0]) > 0) return false
  }
  return true
}

/** Listens to a reader and makes the listing of what it reads. */
export class Lister implements Visitor {
  /** Null until the NAR has ended. */
  listing: Listing | null = null
  readonly #open: Array<{ readonly [name: string]: Listing }> = []
  /** How each open directory is called in the one around it. */
  readonly #names: Array<Uint8Array | null> = []

  directory(name: Uint8Array | null): void {
    this.#names.push(name)
    this.#open.push(Object.create(null))
  }

  directoryEnd(): void {
    const entries = this.#open.pop()
    const name = this.#names.pop()
    if (entries !== undefined && name !== undefined) this.#add(name, { type: "directory", entries })
  }

  file(name: Uint8Array | null, file: Omit<Regular, "type">): void {
    this.#add(name, { type: "regular", size: file.size, executable: file.executable, narOffset: file.narOffset })
  }

  symlink(name: Uint8Array | null, target: Uint8Array): void {
    this.#add(name, { type: "symlink", target: Name.toText(target) })
  }

  contents(): void {}
  fileEnd(): void {}

  #add(name: Uint8Array | null, entry: Listing): void {
    const top: { [name: string]: Listing } | undefined = this.#open.at(-1)
    if (name === null || top === undefined) this.listing = entry
    else top[Name.toText(name)] = entry
  }
}

/** The text of an `.ls` file, byte for byte as Nix writes it: keys sorted, no white space. */
export const printJson = (listing: Listing): string => `{"root":${printNode(listing)},"version":1}`

// Recursive, since a listing is no deeper than a NAR.
const printNode = (listing: Listing): string => {
  switch (listing.type) {
    case "regular": {
      const executable = listing.executable ? '"executable":true,' : ""
      return `{${executable}"narOffset":${listing.narOffset},"size":${listing.size},"type":"regular"}`
    }
    case "symlink":
      return `{"target":${JSON.stringify(listing.target)},"type":"symlink"}`
    case "directory": {
      const entries = entriesOf(listing).map(([name, entry]) => `${JSON.stringify(name)}:${printNode(entry)}`)
      return `{"entries":{${entries.join(",")}},"type":"directory"}`
    }
  }
}

/** Takes what `printJson` writes, and what of it Nix may write in another order. */
export const parseJson = (text: string): Listing | WireError => {
  try {
    const json: unknown = JSON.parse(text)
    if (!isObject(json) || json["version"] !== 1) throw wrong("version 1", json)
    return parseNode(json["root"], 0)
  } catch (error) {
    if (error instanceof WireError) return error
    if (error instanceof SyntaxError) return new WireError({ expected: "a listing as JSON", found: error.message })
    throw error
  }
}

const parseNode = (json: unknown, depth: number): Listing => {
  if (!isObject(json)) throw wrong("an object", json)
  switch (json["type"]) {
    case "regular": {
      const { executable = false, narOffset, size } = json
      if (!isCount(size) || !isCount(narOffset) || typeof executable !== "boolean") throw wrong("a regular file", json)
      return { type: "regular", size, executable, narOffset }
    }
    case "symlink": {
      const target = json["target"]
      if (!isText(target, Grammar.isTarget)) throw wrong("the target of a symlink", target)
      return { type: "symlink", target }
    }
    case "directory": {
      if (!isObject(json["entries"]) || depth === Grammar.depthMax) throw wrong("the entries of a directory", json)
      const entries: { [name: string]: Listing } = Object.create(null)
      for (const [name, entry] of Object.entries(json["entries"])) {
        if (!isText(name, Grammar.isName)) throw wrong("the name of a file", name)
        entries[name] = parseNode(entry, depth + 1)
      }
      return { type: "directory", entries }
    }
    default:
      throw wrong("a type of file", json["type"])
  }
}

const isObject = (json: unknown): json is { readonly [key: string]: unknown } =>
  typeof json === "object" && json !== null && !Array.isArray(json)

const isCount = (json: unknown): json is number => Number.isSafeInteger(json) && Number(json) >= 0

/** Text that stands for bytes in the one way, and those bytes are right. */
const isText = (json: unknown, isRight: (bytes: Uint8Array) => boolean): json is string => {
  const bytes = typeof json === "string" ? Name.toBytes(json) : null
  return bytes !== null && isRight(bytes)
}

const wrong = (expected: string, json: unknown) =>
  new WireError({ expected: `${expected} in a listing`, found: String(JSON.stringify(json)).slice(0, 200) })
