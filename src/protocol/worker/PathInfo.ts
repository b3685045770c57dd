/**
 * What a store knows about one valid path, as the worker protocol says it.
 *
 * The hash is bare hexadecimal here, where the serve protocol, a narinfo and Nix's own output write
 * `sha256:` and nixbase32: the two are easy to mix and decode to different bytes. What comes may be
 * in any notation, as Nix reads it.
 *
 * @see Nix `src/libstore/worker-protocol.cc`, `UnkeyedValidPathInfo`
 */
import { Schema } from "effect"
import * as Hash from "../nix/Hash.ts"
import { PathInfo as Value } from "../nix/PathInfo.ts"
import { SignatureText } from "../nix/Signature.ts"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"

export const Sha256Hex = Codec.refine(Codec.textUpTo(128), {
  grammar: "sha256-hex",
  schema: Hash.Sha256,
  to: (hash) => hash,
  from: Hash.parseSha256
})

const narSizeMin = 1

/** Bytes of a NAR, of which even the smallest has some. */
export const NarSize = Codec.refine(Codec.natural, {
  grammar: "u64",
  schema: Value.fields.narSize,
  to: (size) => size,
  from: (size) =>
    size >= narSizeMin ? size : new Codec.WireError({ expected: `a NAR of at least ${narSizeMin} byte`, found: "0" })
})

const isSignature: (text: string) => boolean = Schema.is(SignatureText)

/** Each `name:base64`, of which only the characters are looked at here. */
export const Signatures = Codec.set(
  Codec.refine(Codec.text, {
    grammar: "signature",
    schema: SignatureText,
    to: (text) => text,
    from: (text) =>
      isSignature(text) ? text : new Codec.WireError({ expected: "a signature", found: `${text.length} characters` })
  })
)

const fields = {
  /** The derivation that built it, when the store remembers. */
  deriver: StorePath.wireOptional,
  narHash: Sha256Hex,
  references: Codec.set(StorePath.wire),
  /** Seconds since the epoch; zero when unknown. */
  registrationTime: Codec.natural,
  narSize: NarSize,
  /** Built here rather than copied from elsewhere, so trusted without a signature. */
  ultimate: Variant.since(0x0110, Codec.bool, false),
  signatures: Variant.since(0x0110, Signatures, []),
  /** Empty unless the path is content-addressed. */
  contentAddress: Variant.since(0x0110, Codec.text, "")
}

/** All but the path, where that is known from what was asked. */
export const UnkeyedPathInfo = Codec.named("UnkeyedPathInfo", Codec.struct(fields))
export type UnkeyedPathInfo = Codec.Codec.Type<typeof UnkeyedPathInfo>

const Keyed = Codec.struct({ path: StorePath.wire, ...fields })

export const PathInfo: Codec.Named<Value> = Codec.named(
  "PathInfo",
  Codec.refine(Keyed, {
    grammar: Keyed.grammar,
    schema: Value,
    to: (info) => info,
    // Each field has been checked by its own codec.
    from: (wire) => new Value(wire, { disableChecks: true })
  })
)
