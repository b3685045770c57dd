/**
 * Operations that make something.
 *
 * `BuildDerivation` is what a remote builder is for, and waits on the build that `Builds` shares. The client's leaving
 * ends the wait: the scope of the operation closes, and with the last wait so does the build.
 *
 * What is asked for by a derivation's path is answered as far as it is there; builds by path come later.
 */
import { Effect, Ref, Result } from "effect"
import { isSuccess } from "../../../protocol/nix/BuildResult.ts"
import * as StorePath from "../../../protocol/nix/StorePath.ts"
import * as Stderr from "../../../protocol/wire/Stderr.ts"
import * as Tracing from "../../../telemetry/Tracing.ts"
import { Builds } from "../../build/Builds.ts"
import { fromRefused, realisationHash, toResult } from "../BuildAnswer.ts"
import * as BuildLog from "../BuildLog.ts"
import { ChannelClosed } from "../Channel.ts"
import * as DerivationFile from "../DerivationFile.ts"
import * as Target from "../Target.ts"
import { refuse } from "../Trouble.ts"
import type { Handlers } from "./Worker.ts"

/** One build at a time in a connection, so its activity may have the same name each time. */
const activity = 1n

export const buildings: Handlers<
  | "BuildDerivation"
  | "BuildPaths"
  | "BuildPathsWithResults"
  | "QueryMissing"
  | "QueryDerivationOutputMap"
  | "QueryDerivationOutputs"
  | "QueryDerivationOutputNames"
> = {
  BuildDerivation: Effect.fnUntraced(
    function* (worker, { derivation, mode, path }) {
      if (mode === "repair")
        return yield* refuse(`cannot repair '${StorePath.print(path)}': the paths it makes were verified`)
      const { account, peer, version } = worker
      const builds = yield* Builds
      const submitted = yield* Effect.result(
        builds.submit({
          account,
          derivationPath: path,
          derivation,
          limits: yield* Ref.get(worker.limits),
          settings: worker.settings,
          check: mode === "check",
          departure: worker.departure
        })
      )
      if (Result.isFailure(submitted)) return fromRefused(submitted.failure)
      yield* peer.tell(Stderr.Message, Stderr.startBuild(activity, StorePath.print(path)), version)
      yield* peer.flush
      yield* BuildLog.tellWorker({ peer, version, id: activity, heard: submitted.success.heard }).pipe(
        Tracing.step("wait")
      )
      const answer = yield* submitted.success.answer
      yield* peer.tell(Stderr.Message, Stderr.stop(activity), version)
      return toResult(answer, realisationHash(path, derivation))
    },
    (wait, { account, closed, requests }, { derivation: { system }, path }) =>
      Effect.raceFirst(wait, Effect.andThen(closed, gone)).pipe(
        requests.serve({ account: account.name, derivation: StorePath.print(path), system })
      )
  ),

  BuildPaths: Effect.fnUntraced(function* ({ account }, { targets }) {
    for (const target of targets) {
      const { error, status } = yield* Target.result(account.view, target)
      if (!isSuccess(status)) return yield* refuse(error)
    }
    return null
  }),

  BuildPathsWithResults: ({ account }, { targets }) =>
    Effect.forEach(targets, (path) => Effect.map(Target.result(account.view, path), (result) => ({ path, result }))),

  QueryMissing: Effect.fnUntraced(function* ({ account }, { targets }) {
    const found: ReadonlyArray<Target.Found> = yield* Effect.forEach(targets, (target) =>
      Target.find(account.view, target)
    )
    return {
      willBuild: found.flatMap((one) => (one._tag === "Missing" ? [one.derivation] : [])),
      willSubstitute: [],
      unknown: found.flatMap((one) => (one._tag === "Unknown" ? [one.path] : [])),
      downloadSize: 0,
      narSize: 0
    }
  }),

  QueryDerivationOutputMap: ({ account }, { path }) =>
    Effect.map(DerivationFile.read(account.view, path), Target.outputsOf),

  QueryDerivationOutputs: ({ account }, { path }) =>
    Effect.map(DerivationFile.read(account.view, path), (derivation) =>
      Target.outputsOf(derivation).flatMap(([, output]) => (output === null ? [] : [output]))
    ),

  QueryDerivationOutputNames: ({ account }, { path }) =>
    Effect.map(DerivationFile.read(account.view, path), ({ outputs }) => outputs.map(([name]) => name))
}

const gone = Effect.fail(new ChannelClosed({ detail: "the client left its build" }))
