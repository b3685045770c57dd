/**
 * Questions of what the client's view holds.
 *
 * Nothing is substituted here, so that what is not valid is not known. A derivation's outputs are read from the
 * derivation itself, which the view must hold.
 */
import { Effect, Option } from "effect"
import { RealisationRepository } from "../../../storage/RealisationRepository.ts"
import { ViewRepository } from "../../../storage/ViewRepository.ts"
import type { StorePath } from "../../../protocol/nix/StorePath.ts"
import { notValid } from "../Trouble.ts"
import type { Handlers, Worker } from "./Worker.ts"

/** Before this, a path that is not valid is an error to `QueryPathInfo`. */
const absenceSince = 0x0111

/** Before this, a realisation was answered as its path alone. */
const realisationsSince = 0x011f

const find = Effect.fnUntraced(function* ({ account }: Worker, path: StorePath) {
  return yield* (yield* ViewRepository).find(account.view, path)
})

/** Fails where the view does not hold the path. */
const get = Effect.fnUntraced(function* (worker: Worker, path: StorePath) {
  const found = yield* find(worker, path)
  return Option.isSome(found) ? found.value : yield* notValid(path)
})

export const queries: Handlers<
  | "IsValidPath"
  | "HasSubstitutes"
  | "QueryReferrers"
  | "QueryDeriver"
  | "QuerySubstitutablePathInfo"
  | "QuerySubstitutablePathInfos"
  | "QuerySubstitutablePaths"
  | "QueryAllValidPaths"
  | "QueryPathInfo"
  | "QueryPathFromHashPart"
  | "QueryValidPaths"
  | "QueryValidDerivers"
  | "QueryRealisation"
  | "EnsurePath"
> = {
  IsValidPath: (worker, { path }) => Effect.map(find(worker, path), Option.isSome),

  QueryPathInfo: (worker, { path }) =>
    worker.version < absenceSince ? get(worker, path) : Effect.map(find(worker, path), Option.getOrNull),

  QueryValidPaths: ({ account }, { paths }) =>
    Effect.flatMap(ViewRepository, (views) => views.valid(account.view, paths)),

  QueryAllValidPaths: ({ account }) => Effect.flatMap(ViewRepository, (views) => views.all(account.view)),

  QueryReferrers: ({ account }, { path }) =>
    Effect.flatMap(ViewRepository, (views) => views.referrers(account.view, path)),

  QueryPathFromHashPart: Effect.fnUntraced(function* ({ account }, { hashPart }) {
    const found = yield* (yield* ViewRepository).findByHashPart(account.view, hashPart)
    return Option.isSome(found) ? found.value.path : null
  }),

  QueryDeriver: (worker, { path }) => Effect.map(get(worker, path), ({ deriver }) => deriver),

  QueryValidDerivers: Effect.fnUntraced(function* ({ account }, { path }) {
    const views = yield* ViewRepository
    const deriver = Option.match(yield* views.find(account.view, path), {
      onNone: () => null,
      onSome: (entry) => entry.deriver
    })
    return deriver === null ? [] : yield* views.valid(account.view, [deriver])
  }),

  EnsurePath: (worker, { path }) => Effect.as(get(worker, path), null),

  HasSubstitutes: () => Effect.succeed(false),
  QuerySubstitutablePathInfo: () => Effect.succeed(null),
  QuerySubstitutablePathInfos: () => Effect.succeed([]),
  QuerySubstitutablePaths: () => Effect.succeed([]),

  /** The question says which of the forms of the answer the client reads, but for the oldest. */
  QueryRealisation: Effect.fnUntraced(function* ({ account, version }, request) {
    const realisations = yield* RealisationRepository
    if ("id" in request) {
      const found = Option.toArray(yield* realisations.find(account.view, request.id))
      return version < realisationsSince ? found.map(({ outPath }) => outPath) : found
    }
    return Option.getOrNull(yield* realisations.findKeyed(account.view, request.derivation, request.output))
  })
}
