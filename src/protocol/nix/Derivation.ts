/**
 * A derivation: what to run, with which inputs, for which outputs.
 *
 * Arguments and environment are bytes; names of outputs and systems are ASCII in practice and text here.
 */
import type { Algorithm } from "./Hash.ts"
import type { StorePath } from "./StorePath.ts"

/** How contents become an address: a flat file, a NAR, or text with references. */
export type Method = "flat" | "nar" | "text" | "git"

/** What is known of an output before it is built. */
export type Output =
  | { readonly _tag: "InputAddressed"; readonly path: StorePath }
  | {
    readonly _tag: "Fixed"
    readonly path: StorePath
    readonly method: Method
    readonly algorithm: Algorithm
    /** Lower-case hex. */
    readonly hash: string
  }
  | { readonly _tag: "Floating"; readonly method: Method; readonly algorithm: Algorithm }
  | { readonly _tag: "Impure"; readonly method: Method; readonly algorithm: Algorithm }
  | { readonly _tag: "Deferred" }

/** A derivation ready to run: its inputs are paths, not other derivations. */
export interface BasicDerivation {
  /** Sorted by name, bytewise. */
  readonly outputs: ReadonlyArray<readonly [name: string, output: Output]>
  readonly inputSources: ReadonlyArray<StorePath>
  readonly system: string
  readonly builder: Uint8Array
  readonly arguments: ReadonlyArray<Uint8Array>
  /** Sorted by name, bytewise. */
  readonly environment: ReadonlyArray<readonly [name: Uint8Array, value: Uint8Array]>
}
