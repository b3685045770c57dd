/** Trees as sandboxes get them: a listing, and the bytes of the NAR that it speaks of. */
import { Lister, type Listing } from "../../src/protocol/nar/Listing.ts"
import { Reader } from "../../src/protocol/nar/Reader.ts"
import type { Found } from "./erofs.ts"
import { encode, type Tree } from "./trees.ts"

export const listing = (tree: Tree): { readonly listing: Listing; readonly contents: Uint8Array } => {
  const contents = encode(tree)
  const lister = new Lister()
  const reader = new Reader(lister)
  for (let at = 0; !reader.done;) at += reader.push(contents.subarray(at))
  if (lister.listing === null) throw new Error("the tree has no listing")
  return { listing: lister.listing, contents }
}

/** What one finds who looks at it. */
export const found = (tree: Tree): Found => {
  switch (tree._tag) {
    case "File":
      return {
        type: "regular",
        executable: tree.executable,
        contents: Buffer.from(tree.contents).toString("latin1")
      }
    case "Symlink":
      return { type: "symlink", target: tree.target }
    case "Directory": {
      const entries: { [name: string]: Found } = Object.create(null)
      for (const [name, entry] of Object.entries(tree.entries)) entries[name] = found(entry)
      return { type: "directory", entries }
    }
  }
}
