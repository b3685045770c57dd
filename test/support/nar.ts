/** NARs for suites that only need there to be some. */
import { createHash } from "node:crypto"
import type { Listing, Regular } from "../../src/protocol/nar/Listing.ts"
import * as Writer from "../../src/protocol/nar/Writer.ts"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"

/** A tree as one writes it down: contents of a file, target of a symlink, entries of a directory. */
export type Tree =
  | string
  | Uint8Array
  | { readonly executable: string }
  | { readonly target: string }
  | { readonly entries: { readonly [name: string]: Tree } }

export const narOf = (tree: Tree): Buffer => {
  const contents = new Map<Regular, Uint8Array>()
  const listed = (tree: Tree): Listing => {
    if (typeof tree === "string" || tree instanceof Uint8Array) return file(tree, false)
    if ("executable" in tree) return file(tree.executable, true)
    if ("target" in tree) return { type: "symlink", target: tree.target }
    const entries = Object.entries(tree.entries).map(([name, entry]) => [name, listed(entry)])
    return { type: "directory", entries: Object.fromEntries(entries) }
  }
  const file = (held: string | Uint8Array, executable: boolean): Regular => {
    const bytes = Buffer.from(held)
    const file: Regular = { type: "regular", size: bytes.length, executable, narOffset: 0 }
    contents.set(file, bytes)
    return file
  }
  return Buffer.concat([...Writer.tree(listed(tree), (file) => [contents.get(file) ?? new Uint8Array(0)])])
}

export const hashOf = (bytes: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(bytes).digest("hex"))

/** The same bytes, in chunks of this many. */
export const cut = (bytes: Uint8Array, length: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(bytes.length / length) }, (_, index) =>
    bytes.subarray(index * length, (index + 1) * length)
  )
