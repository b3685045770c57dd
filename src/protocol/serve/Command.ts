/**
 * The commands of the serve protocol, 2.5 to 2.8: what `nix-store --serve` answers, and `ssh://` speaks.
 *
 *   client  code, request, then perhaps a stream
 *   server  response, then perhaps a stream
 *
 * Nothing else is ever said on this channel. A build's log goes to the channel's stderr as it is, and
 * so does an error, with which the connection ends. A client may send the next command at once.
 *
 * @see Nix `src/nix/nix-store/nix-store.cc`, `opServe`
 */
import { Schema } from "effect"
import * as BuildStatus from "../nix/BuildResult.ts"
import * as DerivedPath from "../nix/DerivedPath.ts"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { Status } from "../worker/BuildResult.ts"
import { BasicDerivation } from "../worker/Derivation.ts"
import { PathInfo as WorkerPathInfo } from "../worker/PathInfo.ts"
import { BuildResult } from "./BuildResult.ts"
import { PathInfos } from "./PathInfo.ts"

export interface Command<Request, Response> {
  readonly code: number
  readonly request: Codec.Codec<Request>
  readonly response: Codec.Codec<Response>
  /** What the client sends after its request: a bare NAR, or an export of several. */
  readonly upload: "none" | "nar" | "export"
  /** What the server sends after its response. */
  readonly download: "none" | "nar"
  /** Whether it changes the store, and so needs `--write`. */
  readonly writes: boolean
}

export declare namespace Command {
  export type Request<C> = C extends Command<infer Request, any> ? Request : never
  export type Response<C> = C extends Command<any, infer Response> ? Response : never
}

const make = <Request, Response>(
  code: number,
  options: Pick<Command<Request, Response>, "request" | "response"> & Partial<Command<Request, Response>>
): Command<Request, Response> => ({ code, upload: "none", download: "none", writes: false, ...options })

const paths = Codec.set(StorePath.wire)

/** What a client may ask of a build. Zero is no limit. */
export const BuildOptions = Codec.named(
  "BuildOptions",
  Codec.struct({
    silenceSecondsMax: Codec.natural,
    secondsMax: Codec.natural,
    logBytesMax: Variant.since(0x0202, Codec.u64, 0n),
    /** Times to build again and compare; servers since 2.13 refuse all but zero. */
    repetitions: Variant.since(0x0203, Codec.u32, 0),
    enforceDeterminism: Variant.since(0x0203, Codec.bool, false),
    keepFailed: Variant.since(0x0207, Codec.bool, false)
  })
)
export type BuildOptions = Codec.Codec.Type<typeof BuildOptions>

/** A path, or a derivation's with outputs after `!`, as old clients write it. */
const Target = Codec.textUpTo(DerivedPath.bytesMax)

/**
 * Built, or why not. Nix's own server sends its exit status here, which newer clients read as a
 * `Status`; only what is a failure as either is sent.
 */
export const BuildOutcome: Codec.Codec<null | { readonly status: BuildStatus.Status; readonly error: string }> = {
  schema: Schema.NullOr(
    Schema.Struct({
      status: BuildStatus.Status.check(
        Schema.makeFilter((status) => !BuildStatus.isSuccess(status), { expected: "a status of failure" })
      ),
      error: Codec.text.schema
    })
  ),
  grammar: `(0 | ${Status.grammar}: ${Codec.text.grammar})`,
  *encode(value, version) {
    yield* Status.encode(value?.status ?? "Built", version)
    if (value !== null) yield* Codec.text.encode(value.error, version)
  },
  *decode(version) {
    const status = yield* Status.decode(version)
    return status === "Built" ? null : { status, error: yield* Codec.text.decode(version) }
  }
}

export const commands = {
  /** `lock` keeps them while the connection lasts; `substitute` first fetches what is missing. */
  QueryValidPaths: make(1, {
    request: Codec.struct({ lock: Codec.bool, substitute: Codec.bool, paths }),
    response: paths
  }),
  /** Answers for those that are valid. Most clients ask for one path at a time. */
  QueryPathInfos: make(2, { request: Codec.struct({ paths }), response: PathInfos }),
  /** A path that is not valid ends the connection. */
  DumpStorePath: make(3, {
    request: Codec.struct({ path: StorePath.wire }),
    response: Codec.nothing,
    download: "nar"
  }),
  ImportPaths: make(4, {
    request: Codec.nothing,
    response: Variant.ignored(Codec.u64, 1n),
    upload: "export",
    writes: true
  }),
  BuildPaths: make(6, {
    request: Codec.struct({ targets: Codec.list(Target), options: BuildOptions }),
    response: BuildOutcome,
    writes: true
  }),
  /** With `includeOutputs`, also what the derivations in it make. */
  QueryClosure: make(7, {
    request: Codec.struct({ includeOutputs: Codec.bool, paths }),
    response: paths
  }),
  BuildDerivation: make(8, {
    request: Codec.struct({ path: StorePath.wire, derivation: BasicDerivation, options: BuildOptions }),
    response: BuildResult,
    writes: true
  }),
  AddToStoreNar: make(9, {
    request: Codec.struct({ info: Variant.pinned(0x0110, WorkerPathInfo) }),
    response: Variant.ignored(Codec.u64, 1n),
    upload: "nar",
    writes: true
  })
} as const

export type Name = keyof typeof commands
export type Request<N extends Name> = Command.Request<(typeof commands)[N]>
export type Response<N extends Name> = Command.Response<(typeof commands)[N]>

/** What stands before each request. */
export const Code = Codec.u32

// `Object.entries` forgets that the keys are those of the table.
const byCode = new Map(Object.entries(commands).map(([name, { code }]) => [code, name as Name]))

/** The name of the command with this number. `ExportPaths` (5) is gone; no client since 2.0 sends it. */
export const find = (code: number): Name | undefined => byCode.get(code)
