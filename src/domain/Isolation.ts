/** Backends that keep accounts apart well enough that one may be answered with what another had built. */
import { Context, Schema } from "effect"
import { Backend } from "./Attempt.ts"

/** Those whose builds have kernels of their own. */
export const isolatingDefault: ReadonlyArray<Backend> = ["kvm", "emulated"]

export const Isolation = Context.Reference<ReadonlyArray<Backend>>("drover/domain/Isolation", {
  defaultValue: () => isolatingDefault
})

const isBackend = Schema.is(Backend)
const nobody = "none"

/** Names with commas between them, or `none`; undefined for anything else. */
export const parse = (text: string): ReadonlyArray<Backend> | undefined => {
  if (text === nobody) return []
  const words = text.split(",")
  return words.every(isBackend) ? [...new Set(words)] : undefined
}

export const print = (backends: ReadonlyArray<Backend>): string => backends.join(",") || nobody
