/** How a build ended, as the protocols say it. */
import type { BuildResult } from "../../protocol/nix/BuildResult.ts"
import { type BasicDerivation, nameOf } from "../../protocol/nix/Derivation.ts"
import type { Sha256 } from "../../protocol/nix/Hash.ts"
import * as OutputPaths from "../../protocol/nix/OutputPaths.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import { unknownHash } from "../../protocol/worker/BuildResult.ts"
import type { Answer } from "../build/Builds.ts"
import type { Refused } from "../build/Refused.ts"

/**
 * `hash` is the derivation's own, by which clients up to Nix 2.34 name its outputs. Every output is told of, also
 * those that nobody asked for: `nix build --json` and `--print-out-paths` have no other way to know them.
 */
export const toResult = (answer: Answer, hash: Sha256): BuildResult => ({
  status: answer.status,
  error: answer.message.toWellFormed(),
  timesBuilt: answer.timesBuilt,
  isNonDeterministic: answer.status === "NotDeterministic",
  startTime: answer.startedAt,
  stopTime: answer.endedAt,
  cpuUserMicroseconds: answer.cpuUserMicroseconds,
  cpuSystemMicroseconds: answer.cpuSystemMicroseconds,
  builtOutputs: answer.outputs.map(({ name, path }) => ({ name, path, hash, signatures: [] }))
})

/** By which clients up to Nix 2.34 name its outputs. A derivation whose path is odd has none, and builds all the same. */
export const realisationHash = (path: StorePath, derivation: BasicDerivation): Sha256 => {
  const name = nameOf(path)
  const hash = name instanceof WireError ? name : OutputPaths.basicRealisationHash(name, derivation)
  return hash instanceof WireError ? unknownHash : hash
}

/** The result of what was not tried. */
export const fromRefused = ({ detail, status }: Pick<Refused, "detail" | "status">): BuildResult =>
  notBuilt(status, detail)

export const notBuilt = (status: BuildResult["status"], error: string): BuildResult => ({
  status,
  error: error.toWellFormed(),
  timesBuilt: 0,
  isNonDeterministic: false,
  startTime: 0,
  stopTime: 0,
  cpuUserMicroseconds: null,
  cpuSystemMicroseconds: null,
  builtOutputs: []
})
