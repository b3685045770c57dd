/**
 * How a build ended, as the serve protocol says it: the worker protocol's fields, with versions of its own.
 *
 * @see Nix `src/libstore/serve-protocol.cc`, `BuildResult`
 */
import * as Nix from "../nix/BuildResult.ts"
import * as Codec from "../wire/Codec.ts"
import * as Variant from "../wire/Variant.ts"
import { OutputsById, OutputsByName, Status } from "../worker/BuildResult.ts"

const Fields = Codec.struct({
  status: Status,
  error: Codec.text,
  timesBuilt: Variant.since(0x0203, Codec.u32, 0),
  isNonDeterministic: Variant.since(0x0203, Codec.bool, false),
  /** Seconds since the epoch. */
  startTime: Variant.since(0x0203, Codec.natural, 0),
  stopTime: Variant.since(0x0203, Codec.natural, 0),
  builtOutputs: Variant.layouts(Variant.from(0x0208), OutputsByName, Variant.since(0x0206, OutputsById, []))
})

export const BuildResult: Codec.Named<Nix.BuildResult> = Codec.named(
  "BuildResult",
  Codec.refine(Fields, {
    grammar: Fields.grammar,
    schema: Nix.BuildResult,
    to: (result) => result,
    from: (wire) => ({ ...wire, cpuUserMicroseconds: null, cpuSystemMicroseconds: null })
  })
)
