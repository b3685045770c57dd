/**
 * What is asked to be made, as text.
 *
 * Before 1.30 there was no way to ask for a derivation's own file: its bare path meant all its outputs.
 *
 * @see Nix `src/libstore/worker-protocol.cc`, `DerivedPath`
 */
import * as Nix from "../nix/DerivedPath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"

const modern: Codec.Codec<Nix.DerivedPath> = Codec.refine(Codec.textUpTo(Nix.bytesMax), {
  grammar: "derived-path",
  schema: Nix.DerivedPath,
  to: Nix.print,
  from: Nix.parse
})

const bare = Codec.refine<Nix.DerivedPath, Nix.DerivedPath>(modern, {
  grammar: "derived-path, a bare .drv meaning all its outputs",
  schema: Nix.DerivedPath,
  to: (path) =>
    path._tag === "Built" && path.outputs === "all" && path.via.length === 0
      ? { _tag: "Opaque", path: path.derivation }
      : path,
  from: (path) =>
    path._tag === "Opaque" && path.path.endsWith(".drv")
      ? { _tag: "Built", derivation: path.path, via: [], outputs: "all" }
      : path
})

export const DerivedPath: Codec.Named<Nix.DerivedPath> = Codec.named(
  "DerivedPath",
  Variant.layouts(Variant.from(0x011e), modern, bare)
)
