/**
 * How a build ended, as the worker protocol says it.
 *
 * Clients take from `builtOutputs` what `nix build --json` and result links show, for derivations of
 * every kind. They read the name after `!` and the path; the hash before it matters to old ones alone.
 *
 * @see Nix `src/libstore/worker-protocol.cc`, `BuildResult`
 */
import { Schema } from "effect"
import * as Nix from "../nix/BuildResult.ts"
import { Sha256 } from "../nix/Hash.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { OutputName } from "./Derivation.ts"
import { DerivedPath } from "./DerivedPath.ts"
import { OutputId, RealisationJson, UnkeyedRealisation } from "./Realisation.ts"
import { withFeature } from "./Version.ts"

export const Status: Codec.Named<Nix.Status> = Codec.named("Status", Variant.enumeration(Nix.statuses))

/** Stands where the protocol no longer says by which hash an output was named. */
export const unknownHash = Sha256.make("0".repeat(64))

const builtOutputs = Schema.Array(Nix.BuiltOutput)

/** By name alone. */
export const OutputsByName: Codec.Codec<ReadonlyArray<Nix.BuiltOutput>> = Codec.refine(
  Codec.map(OutputName, UnkeyedRealisation),
  {
    grammar: `(${OutputName.grammar}, ${UnkeyedRealisation.grammar})*`,
    schema: builtOutputs,
    to: (outputs) => outputs.map(({ name, path, signatures }) => [name, { outPath: path, signatures }] as const),
    from: (entries) =>
      entries.map(([name, { outPath, signatures }]) => ({ name, path: outPath, hash: unknownHash, signatures }))
  }
)

/** By what the derivation hashes to, and its name; the hash and the name stand in the JSON once more. */
export const OutputsById: Codec.Codec<ReadonlyArray<Nix.BuiltOutput>> = Codec.refine(
  Codec.list(Codec.struct({ id: OutputId, realisation: RealisationJson })),
  {
    grammar: `(${OutputId.grammar}, ${RealisationJson.grammar})*`,
    schema: builtOutputs,
    to: (outputs) =>
      // All have one hash, so in order of their names they are in order of their ids.
      [...outputs]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map(({ hash, name, path, signatures }) => {
          const id = { hash, output: name }
          return { id, realisation: { id, outPath: path, signatures, dependentRealisations: [] } }
        }),
    from: (entries) =>
      entries.map(({ id, realisation }) => ({
        name: id.output,
        path: realisation.outPath,
        hash: id.hash,
        signatures: realisation.signatures
      }))
  }
)

/** Two's complement in a u64: what a processor's clock says may in theory have gone backwards. */
const Microseconds: Codec.Codec<number> = Codec.refine(Codec.u64, {
  grammar: "i64",
  schema: Schema.Int,
  to: (value) => BigInt.asUintN(64, BigInt(value)),
  from: (wire) => {
    const value = Number(BigInt.asIntN(64, wire))
    return Number.isSafeInteger(value) ? value : new Codec.WireError({ expected: "microseconds", found: `${wire}` })
  }
})

export const BuildResult: Codec.Named<Nix.BuildResult> = Codec.named(
  "BuildResult",
  Codec.struct({
    status: Status,
    /** Empty on success; may be coloured. */
    error: Codec.text,
    timesBuilt: Variant.since(0x011d, Codec.u32, 0),
    isNonDeterministic: Variant.since(0x011d, Codec.bool, false),
    /** Seconds since the epoch. */
    startTime: Variant.since(0x011d, Codec.natural, 0),
    stopTime: Variant.since(0x011d, Codec.natural, 0),
    cpuUserMicroseconds: Variant.since(0x0125, Codec.option(Microseconds), null),
    cpuSystemMicroseconds: Variant.since(0x0125, Codec.option(Microseconds), null),
    builtOutputs: Variant.layouts(
      withFeature("realisation-with-path-not-hash"),
      OutputsByName,
      Variant.since(0x011c, OutputsById, [])
    )
  })
)

/** A result with what it is the result of, exactly as it was asked for. */
export const KeyedBuildResult = Codec.named(
  "KeyedBuildResult",
  Codec.struct({ path: DerivedPath, result: BuildResult })
)
