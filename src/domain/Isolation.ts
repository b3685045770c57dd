/** Backends that keep accounts apart well enough that one may be answered with what another had built. */
import { Context } from "effect"
import type { Backend } from "./Attempt.ts"

export const Isolation = Context.Reference<ReadonlyArray<Backend>>("drover/domain/Isolation", {
  defaultValue: () => ["kvm", "emulated"]
})
