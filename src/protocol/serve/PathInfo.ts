/**
 * What a store knows about valid paths, as the serve protocol answers it.
 *
 * The infos follow one another and an empty path ends them. Before 2.4 they say nothing of hashes,
 * content addresses and signatures. When they were registered, and whether built here, is never said.
 *
 * @see Nix `src/libstore/serve-protocol.cc`, `UnkeyedValidPathInfo`
 */
import { Schema } from "effect"
import * as Hash from "../nix/Hash.ts"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { NarSize, Signatures } from "../worker/PathInfo.ts"

/** `sha256:` and nixbase32, where the worker protocol has bare hex; empty for unknown. */
const NarHash: Codec.Codec<Hash.Sha256 | null> = Codec.refine(Codec.textUpTo(128), {
  grammar: "sha256:nixbase32",
  schema: Schema.NullOr(Hash.Sha256),
  to: (hash) => (hash === null ? "" : Hash.printNix32(Hash.sha256(hash))),
  from: (text) => (text === "" ? null : Hash.parseSha256(text))
})

const fields = {
  deriver: StorePath.wireOptional,
  references: Codec.set(StorePath.wire),
  /** Bytes to fetch: from a store, those of the NAR. */
  downloadSize: Codec.natural,
  narSize: NarSize,
  narHash: Variant.since(0x0204, NarHash, null),
  contentAddress: Variant.since(0x0204, Codec.text, ""),
  signatures: Variant.since(0x0204, Signatures, [])
}
const Unkeyed = Codec.struct(fields)

export const PathInfo = Codec.named("QueriedPathInfo", Codec.struct({ path: StorePath.wire, ...fields }))
export type PathInfo = Codec.Codec.Type<typeof PathInfo>

/** As many as there are, then an empty path. */
export const PathInfos: Codec.Codec<ReadonlyArray<PathInfo>> = {
  schema: Schema.Array(PathInfo.schema),
  grammar: `${PathInfo.grammar}* ""`,
  *encode(infos, version) {
    for (const info of infos) yield* PathInfo.encode(info, version)
    yield* StorePath.wireOptional.encode(null, version)
  },
  *decode(version) {
    const infos: Array<PathInfo> = []
    for (;;) {
      const path = yield* StorePath.wireOptional.decode(version)
      if (path === null) return infos
      if (infos.length === Codec.countMax) {
        throw new Codec.WireError({ expected: `at most ${Codec.countMax} path infos`, found: "more" })
      }
      infos.push({ path, ...(yield* Unkeyed.decode(version)) })
    }
  }
}
