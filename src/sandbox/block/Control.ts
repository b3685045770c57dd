/**
 * What the server and the process that serves disks say to each other. Each disk has a number, given by the server.
 *
 *     Compose  →  ←  Missing      of these NARs the process knows nothing yet, or no more
 *     Add      →                  what it lacked
 *              ←  Composed | Refused
 *     Attach   →  ←  Left         the disk's client, with its connection; when it has gone
 *     ReadLog  →  ←  Read
 *     Forget   →                  its connection is closed, and nothing of it is kept
 *
 * The process is told nothing but this, and what it says is checked: it talks to guests.
 */
import { Schema } from "effect"
import { InputRead } from "../../domain/InputRead.ts"
import { Sha256 } from "../../protocol/nix/Hash.ts"
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import type { StoredNar } from "../ClosureSource.ts"

export type Closure = ReadonlyArray<{ readonly path: StorePath; readonly narHash: Sha256 }>

export type Request =
  | { readonly _tag: "Compose"; readonly disk: number; readonly closure: Closure }
  | { readonly _tag: "Add"; readonly disk: number; readonly nars: ReadonlyArray<StoredNar> }
  /** A connected socket comes with it. */
  | { readonly _tag: "Attach"; readonly disk: number }
  | { readonly _tag: "ReadLog"; readonly disk: number }
  | { readonly _tag: "Forget"; readonly disk: number }

const disk = Schema.Int
const detail = Schema.String.check(Schema.isMaxLength(4096))

export const Answer = Schema.TaggedUnion({
  /** It has started. */
  Ready: {},
  Missing: { disk, narHashes: Schema.Array(Sha256) },
  Composed: { disk, sizeBytes: Schema.Int },
  Refused: { disk, detail },
  Read: { disk, inputs: Schema.Array(InputRead) },
  Left: { disk, reason: Schema.NullOr(detail) }
})
export type Answer = typeof Answer.Type
