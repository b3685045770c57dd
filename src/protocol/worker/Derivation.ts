/**
 * A derivation as it is sent to be built: its inputs are paths, since the client has resolved them.
 *
 * The same in the worker and the serve protocol, and in all their versions.
 *
 * @see Nix `src/libstore/derivations.cc`, `readDerivation`
 */
import { Schema } from "effect"
import * as Nix from "../nix/Derivation.ts"
import * as StorePath from "../nix/StorePath.ts"
import * as Codec from "../wire/Codec.ts"

const isOutputName = Schema.is(Nix.OutputName)

export const OutputName = Codec.refine(Codec.textUpTo(255), {
  grammar: "output-name",
  schema: Nix.OutputName,
  to: (name) => name,
  from: (text) =>
    isOutputName(text) ? text : new Codec.WireError({ expected: "the name of an output", found: JSON.stringify(text) })
})

const Words = Codec.struct({
  path: Codec.textUpTo(255),
  /** `r:sha256` and the like; empty for what is addressed by its inputs. */
  method: Codec.textUpTo(255),
  hash: Codec.textUpTo(255)
})

export const Output: Codec.Named<Nix.Output> = Codec.named(
  "Output",
  Codec.refine(Words, {
    grammar: Words.grammar,
    schema: Nix.Output,
    to: (output) => {
      const [path, method, hash] = Nix.printOutput(output)
      return { path, method, hash }
    },
    from: ({ hash, method, path }) => Nix.parseOutput([path, method, hash])
  })
)

/** Of the name of a system, which is told to people wherever there is none of that name. */
const systemBytesMax = 255

export const BasicDerivation = Codec.named(
  "BasicDerivation",
  Codec.struct({
    outputs: Codec.map(OutputName, Output),
    inputSources: Codec.set(StorePath.wire),
    system: Codec.textUpTo(systemBytesMax),
    builder: Codec.bytes,
    arguments: Codec.list(Codec.bytes),
    environment: Codec.map(Codec.bytes, Codec.bytes)
  })
)
