/**
 * Operations that put something into a store.
 *
 * A remote builder's client uploads inputs by `AddMultipleToStore`, or before 1.32 by one
 * `AddToStoreNar` for each. The others come from clients that use the server as their store.
 */
import { Schema } from "effect"
import * as Derivation from "../nix/Derivation.ts"
import { Algorithm } from "../nix/Hash.ts"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import * as Operation from "./Operation.ts"
import { PathInfo, Signatures } from "./PathInfo.ts"
import { Realisation } from "./Realisation.ts"

const isName = Schema.is(StorePath.Name)

/** The name part of a store path to be. */
const Name = Codec.refine(Codec.textUpTo(255), {
  grammar: "name",
  schema: StorePath.Name,
  to: (name) => name,
  from: (text) =>
    isName(text) ? text : new Codec.WireError({ expected: "the name of a store path", found: JSON.stringify(text) })
})

/** How contents are to become a store path. */
const Address = Schema.Struct({ method: Derivation.Method, algorithm: Algorithm })
type Address = typeof Address.Type

/** `text:sha256`, `fixed:sha256`, `fixed:r:sha256`, `fixed:git:sha1`. */
const Method: Codec.Codec<Address> = Codec.refine(Codec.textUpTo(64), {
  grammar: "content-address-method",
  schema: Address,
  to: ({ algorithm, method }) => `${method === "text" ? "" : "fixed:"}${Derivation.printMethod(method, algorithm)}`,
  from: (text) => {
    const isFixed = text.startsWith("fixed:")
    const address = Derivation.parseMethod(isFixed ? text.slice(6) : text)
    if (address instanceof Codec.WireError || isFixed === (address.method !== "text")) return address
    return new Codec.WireError({ expected: "text:… or fixed:…", found: text })
  }
})

const AddRequest = Codec.struct({
  name: Name,
  address: Method,
  references: Codec.set(StorePath.wire),
  repair: Codec.bool
})

const OldAddress = Codec.struct({
  name: Name,
  /** False for the usual case, a NAR by its SHA-256, whatever the rest says. */
  isFixed: Codec.bool,
  isRecursive: Codec.bool,
  algorithm: Codec.textUpTo(64)
})

const OldAddRequest: typeof AddRequest = Codec.refine(OldAddress, {
  grammar: OldAddress.grammar,
  schema: AddRequest.schema,
  to: ({ address: { algorithm, method }, name }) => {
    if (method !== "flat" && method !== "nar") {
      throw new Codec.WireError({ expected: "a file or a NAR before 1.25", found: method })
    }
    const isRecursive = method === "nar"
    return { name, isFixed: !isRecursive || algorithm !== "sha256", isRecursive, algorithm }
  },
  from: ({ algorithm, isFixed, isRecursive, name }) => {
    const address = isFixed
      ? Derivation.parseMethod(`${isRecursive ? "r:" : ""}${algorithm}`)
      : { method: "nar" as const, algorithm: "sha256" as const }
    return address instanceof Codec.WireError ? address : { name, address, references: [], repair: false }
  }
})

/**
 * Contents of which the server computes the path.
 *
 * What is uploaded is a NAR for `nar` and `git`, and for `flat` and `text` the plain bytes; before
 * 1.25 always a NAR, also of a flat file. Then only the path is answered, its info since.
 */
export const AddToStore = Operation.make(7, {
  request: Variant.layouts(Variant.from(0x0119), AddRequest, OldAddRequest),
  response: Variant.dialects(Variant.from(0x0119), PathInfo, StorePath.wire),
  upload: (agreed) => (agreed >= 0x0119 ? "framed" : "nar")
})

/** A text file that may refer to other paths: derivations, mostly. */
export const AddTextToStore = Operation.make(8, {
  until: 0x0118,
  request: Codec.struct({ name: Name, contents: Codec.bytes, references: Codec.set(StorePath.wire) }),
  response: StorePath.wire
})

/** One path with everything known of it. */
export const AddToStoreNar = Operation.make(39, {
  since: 0x0111,
  request: Codec.struct({
    info: Variant.pinned(0x0110, PathInfo),
    repair: Codec.bool,
    /** A wish, which only a trusted client is granted. */
    dontCheckSignatures: Codec.bool
  }),
  response: Codec.nothing,
  upload: (agreed) => (agreed >= 0x0117 ? "framed" : agreed >= 0x0115 ? "pulled" : "nar")
})

/** Many paths in one stream, references first: `ItemCount`, then as often an `Item` and its NAR. */
export const AddMultipleToStore = Operation.make(44, {
  since: 0x0120,
  request: Codec.struct({ repair: Codec.bool, dontCheckSignatures: Codec.bool }),
  response: Codec.nothing,
  upload: () => "framed"
})

/** What the frames of `AddMultipleToStore` begin with. */
export const ItemCount: Codec.Codec<number> = Codec.upTo(Codec.countMax, " paths")

/** What stands before each NAR of `AddMultipleToStore`, in one layout for all versions. */
export const Item = Codec.named("Item", Variant.pinned(0x0110, PathInfo))

/** The log of a build made elsewhere. */
export const AddBuildLog = Operation.make(45, {
  since: 0x0120,
  request: Codec.struct({
    derivation: Codec.refine(Codec.textUpTo(255), {
      grammar: "base-name",
      schema: StorePath.StorePath,
      to: (path) => path,
      from: StorePath.parseBase
    })
  }),
  response: Variant.ignored(Codec.u64, 1n),
  upload: () => "framed"
})

export const AddSignatures = Operation.make(37, {
  request: Codec.struct({ path: StorePath.wire, signatures: Signatures }),
  response: Variant.ignored(Codec.u64, 1n)
})

export const RegisterDrvOutput = Operation.make(42, {
  since: 0x011b,
  request: Codec.struct({ realisation: Realisation }),
  response: Codec.nothing
})
