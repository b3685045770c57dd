/**
 * What a NAR holds and where: the form of Nix's `.ls` files.
 *
 * Names and targets are bytes in a NAR. Here they are text in which a byte that is not UTF-8
 * stands as a lone surrogate U+DC80–U+DCFF, so that every name survives the way there and back.
 *
 * @see Nix `src/libstore/nar-accessor.cc`, `listNar`
 */
export type Listing =
  | {
    readonly type: "regular"
    /** Bytes. */
    readonly size: number
    readonly executable: boolean
    /** Where the contents begin in the NAR. */
    readonly narOffset: number
  }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "directory"; readonly entries: { readonly [name: string]: Listing } }
