/**
 * A derivation as the executor is told it: argv, environment, files, outputs and limits.
 *
 * Everything is computed here, on the host; the executor decides nothing.
 */
import type { AttemptId } from "../domain/Attempt.ts"
import type { Sha256 } from "../protocol/nix/Hash.ts"
import type { StorePath } from "../protocol/nix/StorePath.ts"

export interface Job {
  readonly attempt: AttemptId
  readonly system: string
  /** The program, and what it is told; `argv[0]` is the base name of the builder. */
  readonly program: Uint8Array
  readonly argv: ReadonlyArray<Uint8Array>
  readonly environment: ReadonlyArray<readonly [name: Uint8Array, value: Uint8Array]>
  /** Files in the build directory, by name. */
  readonly files: ReadonlyArray<{ readonly name: string; readonly contents: Uint8Array }>
  /** The whole input closure. */
  readonly inputs: ReadonlyArray<{ readonly path: StorePath; readonly narHash: Sha256; readonly narSize: number }>
  /** Where the builder is told to put each output. */
  readonly outputs: ReadonlyArray<{ readonly name: string; readonly path: StorePath }>
  /** Fixed-output and impure derivations may have it, under the egress policy. */
  readonly network: boolean
  readonly cores: number
  readonly memoryBytes: number
}
