/**
 * What stands around each NAR in an export: the stream that `ImportPaths` takes.
 *
 *   export = (1 NAR Trailer)* 0
 *
 * The trailer comes after the contents, so what they are called is known last. Hashes are not said.
 *
 * @see Nix `src/libstore/export-import.cc`
 */
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"

/** Whether a NAR follows, or the export ends here. */
export const More: Codec.Codec<boolean> = Codec.refine(Codec.upTo(1), {
  grammar: "0 | 1",
  schema: Codec.bool.schema,
  to: (more) => (more ? 1 : 0),
  from: (word) => word === 1
})

export const Trailer = Codec.named(
  "Trailer",
  Codec.struct({
    magic: Variant.exactly(Codec.u64, 0x4558494en),
    path: StorePath.wire,
    references: Codec.set(StorePath.wire),
    deriver: StorePath.wireOptional,
    /** Where a signature once stood. */
    signature: Variant.exactly(Codec.u64, 0n)
  })
)
