/** Hashes as Nix means them: an algorithm and a digest, and the spellings of both. */
import { Schema } from "effect"

/** A SHA-256 digest as 64 lower-case hex digits: how this house holds the hash of a NAR. */
export const Sha256 = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)).pipe(Schema.brand("Sha256"))
export type Sha256 = typeof Sha256.Type

export const Algorithm = Schema.Literals(["md5", "sha1", "sha256", "sha512"])
export type Algorithm = typeof Algorithm.Type
