/** Which systems a machine of each architecture runs, and which are offered here. Pure. */
import type { Architecture } from "./Qemu.ts"

/** Programs of 32 bits run on the same kernel, where the processor still has them. */
const systems: { readonly [A in Architecture]: ReadonlyArray<string> } = {
  x86_64: ["x86_64-linux", "i686-linux"],
  aarch64: ["aarch64-linux", "armv7l-linux"]
}

/** Many Arm processors have left them out; the one that is emulated has them. */
const emulatedOnly = ["armv7l-linux"]

export const architectures: ReadonlyArray<Architecture> = ["x86_64", "aarch64"]

/** As Node names them. */
const named: { readonly [name: string]: Architecture } = { x64: "x86_64", arm64: "aarch64" }

/** Of this machine; null for one that builds nothing. */
export const nativeTo = (nodesName: string): Architecture | null =>
  Object.hasOwn(named, nodesName) ? (named[nodesName] ?? null) : null

/** Every system there is a machine for. */
export const all: ReadonlyArray<string> = Object.values(systems).flat()

/** `chosen`: the operator's choice; null for everything. Builtin builders belong to no system, and so to the native. */
export const offered = (
  architecture: Architecture,
  options: {
    readonly isEmulated: boolean
    readonly isNative: boolean
    readonly chosen: ReadonlyArray<string> | null
  }
): ReadonlyArray<string> => {
  const { chosen, isEmulated, isNative } = options
  const possible = systems[architecture].filter((system) => isEmulated || !emulatedOnly.includes(system))
  const wanted = chosen === null ? possible : possible.filter((system) => chosen.includes(system))
  return isNative && wanted.length > 0 ? [...wanted, "builtin"] : wanted
}
