/**
 * Operations for whoever looks after a store, from clients that do not: the store is shared, and looks after itself.
 *
 * What keeps a path for a while is granted, since it is kept anyway. What would delete, or root a path for good, is
 * refused in a sentence.
 */
import { Effect, Ref } from "effect"
import { ViewRepository } from "../../../storage/ViewRepository.ts"
import type { Limits } from "../../../domain/Limits.ts"
import { print } from "../../../protocol/nix/StorePath.ts"
import type { Request } from "../../../protocol/worker/Operations.ts"
import { refuse } from "../Trouble.ts"
import type { Handlers } from "./Worker.ts"

export const maintenance: Handlers<
  | "SetOptions"
  | "AddTempRoot"
  | "AddIndirectRoot"
  | "AddPermRoot"
  | "SyncWithGC"
  | "FindRoots"
  | "CollectGarbage"
  | "OptimiseStore"
  | "VerifyStore"
> = {
  SetOptions: ({ limits }, request) => Effect.as(Ref.set(limits, limitsOf(request)), null),

  AddTempRoot: () => Effect.succeed(null),
  SyncWithGC: () => Effect.succeed(null),
  AddIndirectRoot: () => refuse("roots cannot be made in this store"),
  AddPermRoot: () => refuse("roots cannot be made in this store"),
  FindRoots: () => Effect.succeed([]),

  /** Nothing in a view is garbage until the server says so, and what it says so of is gone. */
  CollectGarbage: Effect.fnUntraced(function* ({ account }, { action, ignoreLiveness }) {
    if (ignoreLiveness || action === "deleteDead" || action === "deleteSpecific") {
      return yield* refuse("this store collects its garbage by itself")
    }
    const views = yield* ViewRepository
    const paths = action === "returnLive" ? yield* views.all(account.view) : []
    return { paths: paths.map(print), freed: 0n, obsolete: null }
  }),

  OptimiseStore: () => Effect.succeed(null),

  /** Every path was verified when it came, and its bytes are again when they are read. */
  VerifyStore: (_, { repair }) =>
    repair ? refuse("this store cannot be repaired by its clients") : Effect.succeed(false)
}

/** The settings that say how long a build may take or be silent; the others are no client's to say. */
const limitsOf = ({ overrides, silenceSecondsMax }: Request<"SetOptions">): Limits => {
  const limit = (text: string | undefined): number | null => {
    const value = /^[0-9]{1,15}$/.test(text ?? "") ? Number(text) : 0
    return value === 0 ? null : value
  }
  const settings = new Map(overrides)
  return {
    timeoutSeconds: limit(settings.get("timeout") ?? settings.get("build-timeout")),
    silenceSecondsMax: limit(`${silenceSecondsMax}`),
    logBytesMax: limit(settings.get("max-build-log-size"))
  }
}
