/**
 * What a client says a path is the address of, checked against the bytes that came.
 *
 * Two things must hold: the content address, the name and the references give this path, and the contents hash to the
 * content address. What refers to itself is hashed without that, in one of two ways (`HashModulo.ts`): the first is
 * done while the bytes come in, the second, should it be needed, by reading them again.
 */
import { Effect, type Scope } from "effect"
import type { ReceivedNar, Watch } from "../../domain/ReceivedNar.ts"
import * as ContentAddress from "../../protocol/nix/ContentAddress.ts"
import { HashModulo } from "../../protocol/nix/HashModulo.ts"
import type { PathInfo } from "../../protocol/nix/PathInfo.ts"
import * as StorePath from "../../protocol/nix/StorePath.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import type { NarStore } from "../../storage/NarStore.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import { type Refusal, refuse } from "./Trouble.ts"

export interface Claim {
  readonly path: StorePath.StorePath
  readonly address: ContentAddress.ContentAddress
  readonly refersToItself: boolean
}

/** Null where there is none. Fails where the address is not of this path, whatever the contents. */
export const parse = ({ contentAddress, path, references }: PathInfo): Effect.Effect<Claim | null, Refusal> => {
  if (contentAddress === "") return Effect.succeed(null)
  const address = ContentAddress.parse(contentAddress)
  if (address instanceof WireError) return refuse(`path '${StorePath.print(path)}': ${address.message}`)
  const claim = { path, address, refersToItself: references.includes(path) }
  const others = references.filter((reference) => reference !== path)
  const named = ContentAddress.storePath(StorePath.nameOf(path), address, { others, self: claim.refersToItself })
  return named === path
    ? Effect.succeed(claim)
    : refuse(
        `path '${StorePath.print(path)}' is not the one of its content address '${contentAddress}'${
          named instanceof WireError ? `: ${named.message}` : `, which is '${StorePath.print(named)}'`
        }`
      )
}

/** What to look for while the bytes go by. */
export const watch = (claim: Claim | null): Watch => {
  if (claim === null) return {}
  const {
    address: {
      hash: { algorithm },
      method
    },
    path
  } = claim
  return method === "nar"
    ? { digest: { of: "nar", algorithm, modulo: StorePath.hashPart(path) } }
    : { digest: { of: "flat", algorithm } }
}

/**
 * Fails where the contents are not those of the address. Answers whether the address says all there is to say of them:
 * an executable file has the address of one that is not, which Nix takes, and so nobody may be told that it is this.
 */
export const verify = Effect.fnUntraced(function* (
  claim: Claim,
  nar: ReceivedNar,
  nars: NarStore["Service"]
): Effect.fn.Return<boolean, Refusal | StorageError, Scope.Scope> {
  const {
    address: { hash, method },
    path,
    refersToItself
  } = claim
  if (method === "git") return yield* refuse(`path '${StorePath.print(path)}': Git content addresses are not supported`)
  const { listing } = nar
  if (method !== "nar" && listing.type !== "regular") {
    return yield* refuse(`path '${StorePath.print(path)}' has the address of a file and is none`)
  }
  if (nar.digest === hash.hex) return method === "nar" || isPlain(nar)
  if (method === "nar" && refersToItself) {
    const source = yield* nars.reread(nar)
    const modulo = new HashModulo(hash.algorithm, StorePath.hashPart(path))
    for (let chunk = yield* source.peek; chunk.length > 0; chunk = yield* source.peek) {
      modulo.push(chunk)
      source.advance(chunk.length)
    }
    if (modulo.digests().withoutOffsets === hash.hex) return true
  }
  return yield* refuse(
    `content address mismatch importing path '${StorePath.print(path)}': expected ${hash.algorithm}:${hash.hex}, found ${
      nar.digest === null ? "no such contents" : `${hash.algorithm}:${nar.digest}`
    }`
  )
})

/** Whether it is a file that is not executable. */
export const isPlain = ({ listing }: ReceivedNar): boolean => listing.type === "regular" && !listing.executable
