/** How a build ended: its outputs, its own failure, or that nobody waits for it any more. */
import type { Outcome } from "../../domain/Attempt.ts"
import type { Failure } from "../../domain/Failure.ts"
import type { BuildEnd } from "../../storage/BuildRepository.ts"
import type { BuiltOutput } from "../builder/BuilderPool.ts"

export type End =
  | { readonly _tag: "Succeeded"; readonly outputs: ReadonlyArray<BuiltOutput> }
  | { readonly _tag: "Failed"; readonly failure: Failure }
  | { readonly _tag: "Cancelled"; readonly outcome: Outcome }

export const outcomeOf = (end: End): Outcome => {
  switch (end._tag) {
    case "Succeeded":
      return "succeeded"
    case "Failed":
      return end.failure.outcome
    case "Cancelled":
      return end.outcome
  }
}

/** The same for the record. */
export const recordOf = (end: End): BuildEnd => {
  switch (end._tag) {
    case "Succeeded":
      return {
        state: "succeeded",
        status: "Built",
        message: "",
        outputs: end.outputs.map(({ info: { contentAddress, narHash, path, references }, name }) => ({
          name,
          path,
          narHash,
          references,
          contentAddress
        }))
      }
    case "Failed":
      return { state: "failed", status: end.failure.status, message: end.failure.message, outputs: [] }
    case "Cancelled":
      return { state: "cancelled", status: "MiscFailure", message: end.outcome, outputs: [] }
  }
}
