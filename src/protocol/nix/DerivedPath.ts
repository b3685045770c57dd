/**
 * What can be asked to be made: a path that is to be valid, or outputs of a derivation that are to be built.
 *
 *   /nix/store/…-hello              opaque, also when it is a derivation's own path
 *   /nix/store/…-hello.drv!out,dev  these outputs of it
 *   /nix/store/…-hello.drv!*        all of them
 *   /nix/store/…-outer.drv!out!bin  of the derivation that an output of another one is
 *
 * Before 1.30 of the worker protocol a bare `.drv` path meant all its outputs; whoever speaks it has to know.
 *
 * @see Nix `src/libstore/derived-path.cc`, the legacy notation
 */
import { Schema } from "effect"
import { WireError } from "../wire/Codec.ts"
import { OutputName } from "./Derivation.ts"
import * as Store from "./StorePath.ts"
import { StorePath } from "./StorePath.ts"

export type DerivedPath =
  | { readonly _tag: "Opaque"; readonly path: StorePath }
  | {
      readonly _tag: "Built"
      readonly derivation: StorePath
      /** Outputs to go through before arriving at the derivation that is meant; empty but for dynamic ones. */
      readonly via: ReadonlyArray<string>
      readonly outputs: Outputs
    }

/** Which outputs: `all` there are, or those named. */
export type Outputs = "all" | ReadonlyArray<string>

/** How many derivations may be made by one another, in one request. */
export const depthMax = 64

/** Of one of these, all names included. Each comma would make a name, which takes many times its room. */
export const bytesMax = 1024 * 1024

const Names = Schema.NonEmptyArray(OutputName)

export const DerivedPath: Schema.Schema<DerivedPath> = Schema.Union([
  Schema.TaggedStruct("Opaque", { path: StorePath }),
  Schema.TaggedStruct("Built", {
    derivation: StorePath,
    via: Schema.Array(OutputName).check(Schema.isMaxLength(depthMax)),
    outputs: Schema.Union([Schema.Literal("all"), Names])
  })
])

const isOutputName = Schema.is(OutputName)

/** Undefined when all are names of outputs. */
const misnamed = (names: ReadonlyArray<string>): string | undefined => names.find((name) => !isOutputName(name))

export const print = (path: DerivedPath): string =>
  path._tag === "Opaque"
    ? Store.print(path.path)
    : [Store.print(path.derivation), ...path.via, path.outputs === "all" ? "*" : path.outputs.join(",")].join("!")

export const parse = (text: string): DerivedPath | WireError => {
  if (text.length > bytesMax) return new WireError({ expected: `at most ${bytesMax} bytes`, found: `${text.length}` })
  const [first = "", ...rest] = text.split("!", depthMax + 3)
  const base = Store.parse(first)
  if (base instanceof WireError) return base
  const last = rest.pop()
  if (last === undefined) return { _tag: "Opaque", path: base }
  if (rest.length > depthMax) return new WireError({ expected: `at most ${depthMax} derivations`, found: "more" })
  const outputs = last === "*" ? "all" : last.split(",")
  const wrong = misnamed(outputs === "all" ? rest : [...rest, ...outputs])
  if (wrong !== undefined) {
    return new WireError({ expected: "the name of an output", found: JSON.stringify(wrong.slice(0, 300)) })
  }
  return { _tag: "Built", derivation: base, via: rest, outputs }
}
