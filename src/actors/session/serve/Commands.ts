/** The commands of the serve protocol, but the one whose answer is a stream: each answered from the account's view. */
import { Effect, type Scope } from "effect"
import type { Settings } from "../../../domain/Settings.ts"
import { isSuccess } from "../../../protocol/nix/BuildResult.ts"
import * as DerivedPath from "../../../protocol/nix/DerivedPath.ts"
import { PathInfo } from "../../../protocol/nix/PathInfo.ts"
import type * as Command from "../../../protocol/serve/Command.ts"
import { print } from "../../../protocol/nix/StorePath.ts"
import * as ExportedPath from "../../../protocol/serve/ExportedPath.ts"
import { type Version, WireError } from "../../../protocol/wire/Codec.ts"
import { ViewRepository } from "../../../storage/ViewRepository.ts"
import type { Requests } from "../../../telemetry/Request.ts"
import * as Tracing from "../../../telemetry/Tracing.ts"
import { Builds } from "../../build/Builds.ts"
import { fromRefused, realisationHash, toResult } from "../BuildAnswer.ts"
import * as BuildLog from "../BuildLog.ts"
import { type Channel, ChannelClosed } from "../Channel.ts"
import * as DerivationFile from "../DerivationFile.ts"
import type { Peer } from "../Peer.ts"
import * as Target from "../Target.ts"
import { notValid, patiently, refuse, type Trouble } from "../Trouble.ts"
import * as Upload from "../Upload.ts"
import type { Services } from "../worker/Worker.ts"

/** One connection of the serve protocol, as the handlers of its commands see it. */
export interface Server {
  readonly channel: Channel
  readonly peer: Peer
  readonly version: Version
  /** What the client's environment asks. */
  readonly settings: Settings
  /** What it asks for, to be traced. */
  readonly requests: Requests
}

export type Answered = Exclude<Command.Name, "DumpStorePath">

export type Handlers = {
  readonly [N in Answered]: (
    server: Server,
    request: Command.Request<N>
  ) => Effect.Effect<Command.Response<N>, Trouble | ChannelClosed, Services | Scope.Scope>
}

export const handlers: Handlers = {
  QueryValidPaths: ({ channel }, { paths }) =>
    patiently(Effect.flatMap(ViewRepository, (views) => views.valid(channel.account.view, paths))),

  QueryPathInfos: Effect.fnUntraced(function* ({ channel }, { paths }) {
    const views = yield* ViewRepository
    const entries = yield* views.findMany(channel.account.view, paths)
    return entries.map(({ path, deriver, references, narSize, narHash, contentAddress, signatures }) => ({
      path,
      deriver,
      references,
      downloadSize: narSize,
      narSize,
      narHash,
      contentAddress,
      signatures
    }))
  }, patiently),

  QueryClosure: Effect.fnUntraced(function* ({ channel: { account } }, { includeOutputs, paths }) {
    const views = yield* ViewRepository
    const closure = yield* views.closure(account.view, paths)
    const held = new Set(closure.map(({ path }) => path))
    const missing = paths.find((path) => !held.has(path))
    if (missing !== undefined) return yield* notValid(missing)
    if (!includeOutputs) return [...held]
    const derivations = [...held].filter((path) => path.endsWith(".drv"))
    const outputs = yield* Effect.forEach(derivations, (path) =>
      Effect.map(DerivationFile.read(account.view, path), (derivation) =>
        derivation.outputs.flatMap(([, output]) => ("path" in output ? [output.path] : []))
      )
    )
    const made = yield* views.valid(account.view, outputs.flat())
    return (yield* views.closure(account.view, [...held, ...made])).map(({ path }) => path)
  }, patiently),

  AddToStoreNar: Effect.fnUntraced(function* ({ channel, peer }, { info }) {
    const upload = yield* Upload.make(channel.account)
    yield* upload.receive(info, peer.input)
    yield* upload.commit
    return null
  }),

  /** What a path is called and refers to comes after its contents, and nothing says what they hash to. */
  ImportPaths: Effect.fnUntraced(function* ({ channel, peer, version }) {
    const upload = yield* Upload.make(channel.account)
    while (yield* peer.read(ExportedPath.More, version)) {
      yield* upload.commitIfFull
      const nar = yield* upload.read(peer.input, {})
      const { deriver, path, references } = yield* peer.read(ExportedPath.Trailer, version)
      yield* upload.admit(
        new PathInfo({
          path,
          deriver,
          narHash: nar.narHash,
          narSize: nar.narSize,
          references,
          registrationTime: 0,
          ultimate: false,
          signatures: [],
          contentAddress: ""
        }),
        nar,
        false
      )
    }
    yield* upload.commit
    return null
  }),

  BuildPaths: Effect.fnUntraced(function* ({ channel: { account } }, { targets }) {
    for (const text of targets) {
      const target = DerivedPath.parse(text)
      if (target instanceof WireError) return { status: "InputRejected", error: target.message.toWellFormed() }
      const { error, status } = yield* Target.result(account.view, allOutputs(target))
      if (!isSuccess(status)) return { status, error }
    }
    return null
  }),

  BuildDerivation: Effect.fnUntraced(
    function* ({ channel, settings }, { derivation, options, path }) {
      if (options.repetitions > 0) return yield* refuse("builds are not repeated here; '--check' compares a second one")
      const builds = yield* Builds
      const submitted = yield* builds
        .submit({
          account: channel.account,
          derivationPath: path,
          derivation,
          limits: limitsOf(options),
          settings,
          check: false,
          departure: channel.departure
        })
        .pipe(Effect.catchTag("Refused", (refused) => Effect.succeed(fromRefused(refused))))
      if ("status" in submitted) return submitted
      yield* BuildLog.tellServe(channel, submitted.heard).pipe(Tracing.step("wait"))
      return toResult(yield* submitted.answer, realisationHash(path, derivation))
    },
    (wait, { channel: { account, closed }, requests }, { derivation: { system }, path }) =>
      Effect.raceFirst(wait, Effect.andThen(closed, gone)).pipe(
        requests.serve({ account: account.name, derivation: print(path), system })
      )
  )
}

const gone = Effect.fail(new ChannelClosed({ detail: "the client left its build" }))

/** This protocol has no other word for a derivation's outputs than its bare path. */
const allOutputs = (target: DerivedPath.DerivedPath): DerivedPath.DerivedPath =>
  target._tag === "Opaque" && target.path.endsWith(".drv")
    ? { _tag: "Built", derivation: target.path, via: [], outputs: "all" }
    : target

const limitsOf = ({ logBytesMax, secondsMax, silenceSecondsMax }: Command.BuildOptions) => ({
  timeoutSeconds: secondsMax === 0 ? null : secondsMax,
  silenceSecondsMax: silenceSecondsMax === 0 ? null : silenceSecondsMax,
  // More than any log will have is as good as no limit.
  logBytesMax: logBytesMax === 0n || logBytesMax > Number.MAX_SAFE_INTEGER ? null : Number(logBytesMax)
})
