/** Trees to try NARs with, made up by schema. */
import { Schema } from "effect"
import type { Listing, Regular } from "../../src/protocol/nar/Listing.ts"
import * as Writer from "../../src/protocol/nar/Writer.ts"

export type Tree =
  | { readonly _tag: "File"; readonly executable: boolean; readonly contents: Uint8Array }
  | { readonly _tag: "Symlink"; readonly target: string }
  | { readonly _tag: "Directory"; readonly entries: { readonly [name: string]: Tree } }

const File = Schema.TaggedStruct("File", { executable: Schema.Boolean, contents: Schema.Uint8Array })
const Symlink = Schema.TaggedStruct("Symlink", { target: Schema.String.check(Schema.isPattern(/^[a-zä/.]{1,12}$/)) })
// Among them what is special to JavaScript, to sorting, and what stands for bytes that are no UTF-8.
const Name = Schema.Union([
  Schema.String.check(Schema.isPattern(/^[a-c0-2][a-zé.-]{0,3}$/)),
  Schema.Literals(["__proto__", "constructor", "10", "9", "-", "\uffff", "\u{10000}", "\udce4", "a\udcff\udc80"])
])
const directoryOf = <S extends Schema.Schema<any>>(entry: S) =>
  Schema.TaggedStruct("Directory", { entries: Schema.Record(Name, entry) })

const leaf = Schema.Union([File, Symlink])
const low = Schema.Union([File, Symlink, directoryOf(leaf)])
const middle = Schema.Union([File, directoryOf(low)])
export const Tree: Schema.Schema<Tree> = Schema.Union([directoryOf(middle), leaf])

/** Its NAR, by our own writer. */
export const encode = (tree: Tree): Uint8Array => {
  const contents = new Map<Regular, Uint8Array>()
  const listing = listingOf(tree, contents)
  return Buffer.concat([...Writer.tree(listing, (file) => [contents.get(file) ?? new Uint8Array(0)])])
}

const listingOf = (tree: Tree, contents: Map<Regular, Uint8Array>): Listing => {
  switch (tree._tag) {
    case "File": {
      const file: Regular = { type: "regular", executable: tree.executable, size: tree.contents.length, narOffset: 0 }
      contents.set(file, tree.contents)
      return file
    }
    case "Symlink":
      return { type: "symlink", target: tree.target }
    case "Directory": {
      const entries: { [name: string]: Listing } = Object.create(null)
      for (const [name, entry] of Object.entries(tree.entries)) entries[name] = listingOf(entry, contents)
      return { type: "directory", entries }
    }
  }
}
