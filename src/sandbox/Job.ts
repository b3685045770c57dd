/**
 * A derivation as the executor is told it: argv, environment, files, outputs and limits.
 *
 * Everything is computed here, on the host; the executor decides nothing. What comes out is what stock Nix would have
 * made of the derivation, to the order of the variables.
 *
 * @see Nix `src/libstore/unix/build/derivation-builder.cc`
 */
import { Schema } from "effect"
import type { AccountId } from "../domain/Account.ts"
import type { AttemptId } from "../domain/Attempt.ts"
import { FailureStatus } from "../domain/Failure.ts"
import type { PlannedOutput } from "../domain/OutputPlan.ts"
import * as Derivation from "../protocol/nix/Derivation.ts"
import type { BasicDerivation } from "../protocol/nix/Derivation.ts"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { PathInfo } from "../protocol/nix/PathInfo.ts"
import * as Placeholder from "../protocol/nix/Placeholder.ts"
import * as Store from "../protocol/nix/StorePath.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"
import { attributeFiles, cString, type File, rewriter, variables } from "./Environment.ts"

export interface Job {
  readonly attempt: AttemptId
  /** Whose it is; null for our own. */
  readonly account: AccountId | null
  /** For messages. */
  readonly derivationPath: StorePath
  readonly system: string
  /** The program, and what it is told; `argv[0]` is the base name of the builder. */
  readonly program: Uint8Array
  readonly argv: ReadonlyArray<Uint8Array>
  readonly environment: ReadonlyArray<readonly [name: Uint8Array, value: Uint8Array]>
  /** Files in the build directory. */
  readonly files: ReadonlyArray<File>
  /** Files in `/etc`. */
  readonly etc: ReadonlyArray<File>
  /** The whole input closure. */
  readonly inputs: ReadonlyArray<{ readonly path: StorePath; readonly narHash: Sha256; readonly narSize: number }>
  /** Where the builder is told to put each output. */
  readonly outputs: ReadonlyArray<PlannedOutput>
  /** Fixed-output and impure derivations may have it, under the egress policy. */
  readonly network: boolean
  /** Says that it is a 32-bit machine. */
  readonly linux32: boolean
  /** Has `/dev/kvm`. */
  readonly kvm: boolean
  readonly hostname: string
  readonly cores: number
  readonly memoryBytes: number
  /** Processes and threads at a time: what a fork bomb is stopped by. */
  readonly processesMax: number
}

/** A derivation that cannot be run as it is: an answer to the build, in Nix's own words where it has some. */
export class JobRefused extends Schema.TaggedError<JobRefused>()("JobRefused", {
  status: FailureStatus,
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

export interface JobOptions {
  readonly attempt: AttemptId
  /** Left out for our own. */
  readonly account?: AccountId
  readonly derivationPath: StorePath
  readonly derivation: BasicDerivation
  readonly outputs: ReadonlyArray<PlannedOutput>
  readonly closure: ReadonlyArray<PathInfo>
  readonly cores: number
  readonly memoryBytes: number
  /** Values for `impureEnvVars`, by name: the operator's table, never our own environment. */
  readonly impureVariables?: ReadonlyMap<string, string>
}

/** Far more than a build starts, far less than a machine has numbers for. */
export const processesMax = 16_384

/** Each may be a mount of its own, and the kernel makes 100,000 for a namespace: more would look like a broken host. */
const inputsMax = 50_000

/** The kernel takes no longer string, and no more of them together, whatever the limits. */
const stringBytesMax = 128 * 1024
const stringsBytesMax = 6 * 1024 * 1024

/** The executor takes no more; see executor/job.h. */
const outputsMax = 4096

const passwd = `root:x:0:0:Nix build user:/build:/noshell
nixbld:x:1000:100:Nix build user:/build:/noshell
nobody:x:65534:65534:Nobody:/:/noshell
`
const group = `root:x:0:
nixbld:!:100:
nogroup:x:65534:
`
const hosts = `127.0.0.1 localhost
::1 localhost
`
const nsswitch = `hosts: files dns
services: files
`

/** Systems whose programs ask a 64-bit kernel what machine it is. */
const systems32 = /^(?:i686|armv[5-8][a-z]*)-linux$/

export const make = (options: JobOptions): Job | JobRefused => {
  const { closure, derivation, derivationPath, outputs } = options
  const drv = Store.print(derivationPath)
  const builder = Buffer.from(derivation.builder).toString()
  if (builder.startsWith("builtin:")) {
    const detail = `builder for '${drv}' failed with exit code 1;\n  '${builder}' is no program, and is not run here`
    return new JobRefused({ status: "PermanentFailure", detail })
  }
  if (closure.length > inputsMax) {
    const detail = `cannot build '${drv}': it may have at most ${inputsMax} inputs, and has ${closure.length}`
    return new JobRefused({ status: "PermanentFailure", detail })
  }

  if (outputs.length > outputsMax) {
    const detail = `derivation '${drv}' has ${outputs.length} outputs, and at most ${outputsMax} can be made at once`
    return new JobRefused({ status: "MiscFailure", detail })
  }

  const network = Derivation.hasNetwork(derivation)
  const rewrite = rewriter(outputs.map(({ name, path }) => [Placeholder.ofOutput(name), Store.print(path)]))
  const attributes = attributeFiles(derivation, new Map(closure.map((info) => [info.path, info])), rewrite)
  if (typeof attributes === "string")
    return new JobRefused({ status: "MiscFailure", detail: `${attributes} (in '${drv}')` })
  const environment = variables(derivation, {
    cores: options.cores,
    isFixed: derivation.outputs.some(([, output]) => output._tag === "Fixed"),
    impure: options.impureVariables ?? new Map(),
    rewrite
  })
  const argv = [baseName(derivation.builder), ...derivation.arguments.map(rewrite)].map(cString)
  if (isTooLong([derivation.builder, ...argv], environment)) {
    const detail = `builder for '${drv}' failed with exit code 1;\n  executing '${builder.slice(0, 300)}': Argument list too long`
    return new JobRefused({ status: "PermanentFailure", detail })
  }

  return {
    attempt: options.attempt,
    account: options.account ?? null,
    derivationPath,
    system: derivation.system,
    program: cString(derivation.builder),
    argv,
    environment,
    files: attributes,
    etc: [
      file("passwd", passwd),
      file("group", group),
      ...(network ? [file("nsswitch.conf", nsswitch)] : [file("hosts", hosts)])
    ],
    inputs: closure.map(({ narHash, narSize, path }) => ({ path, narHash, narSize })),
    outputs,
    network,
    linux32: systems32.test(derivation.system),
    kvm: false,
    hostname: "localhost",
    cores: options.cores,
    memoryBytes: options.memoryBytes,
    processesMax
  }
}

const file = (name: string, contents: string): File => ({ name, contents: Buffer.from(contents) })

const baseName = (program: Uint8Array) => program.subarray(program.lastIndexOf(0x2f) + 1)

const isTooLong = (argv: Job["argv"], environment: Job["environment"]) => {
  const lengths = [
    ...argv.map(({ length }) => length + 1),
    ...environment.map(([name, value]) => name.length + value.length + 2)
  ]
  return (
    lengths.some((length) => length > stringBytesMax) ||
    lengths.reduce((sum, length) => sum + length, 0) > stringsBytesMax
  )
}
