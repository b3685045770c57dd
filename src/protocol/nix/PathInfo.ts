/** What a store knows of a path, in whichever protocol it travels. */
import { Schema } from "effect"
import { Sha256 } from "./Hash.ts"
import { SignatureText } from "./Signature.ts"
import { StorePath } from "./StorePath.ts"

// A lone surrogate is a JavaScript string that no protocol can carry.
const Text = Schema.String.check(Schema.makeFilter((text) => text.isWellFormed(), { expected: "well-formed text" }))

export class PathInfo extends Schema.Class<PathInfo>("drover/PathInfo")({
  path: StorePath,
  /** The derivation that built it, as its owner says; null when unknown. */
  deriver: Schema.NullOr(StorePath),
  narHash: Sha256,
  /** Bytes. */
  narSize: Schema.Int.check(Schema.isGreaterThan(0)),
  /** Sorted bytewise; may hold the path itself. */
  references: Schema.Array(StorePath),
  /** Seconds since the epoch; zero when unknown. */
  registrationTime: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Built here, rather than copied from elsewhere. */
  ultimate: Schema.Boolean,
  /** Each `name:base64`. */
  signatures: Schema.Array(SignatureText),
  /** Nix's own spelling, `fixed:r:sha256:…`; empty unless the path is content-addressed. */
  contentAddress: Text
}) {}
