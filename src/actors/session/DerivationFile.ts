/** A derivation that a view holds: its file, read and parsed. */
import { Effect } from "effect"
import type { ViewId } from "../../domain/View.ts"
import * as NarReader from "../../protocol/nar/Reader.ts"
import * as Aterm from "../../protocol/nix/Aterm.ts"
import type { Derivation } from "../../protocol/nix/Derivation.ts"
import { print, type StorePath } from "../../protocol/nix/StorePath.ts"
import { bytesMax, WireError } from "../../protocol/wire/Codec.ts"
import type { NarStore } from "../../storage/NarStore.ts"
import type { StorageError } from "../../storage/StorageError.ts"
import type { ViewRepository } from "../../storage/ViewRepository.ts"
import * as Download from "./Download.ts"
import { type Refusal, refuse } from "./Trouble.ts"

/** Fails where the view does not hold the path, or it is no derivation. */
export const read = (
  view: ViewId,
  path: StorePath
): Effect.Effect<Derivation, Refusal | StorageError, NarStore | ViewRepository> =>
  Effect.scoped(
    Effect.gen(function* () {
      const source = yield* Download.open(view, path)
      const chunks: Array<Uint8Array> = []
      let size = 0
      const reader = new NarReader.Reader({
        contents: (chunk) => {
          size += chunk.length
          if (size <= bytesMax) chunks.push(chunk.slice())
        }
      })
      while (size <= bytesMax) {
        const chunk = yield* source.peek
        if (chunk.length === 0) break
        // What is kept has been read by this reader before.
        source.advance(reader.push(chunk))
      }
      const derivation =
        size <= bytesMax
          ? Aterm.parse(Buffer.concat(chunks))
          : new WireError({
              expected: `a derivation of at most ${bytesMax} bytes`,
              found: "a longer one"
            })
      return derivation instanceof WireError ? yield* refuse(`'${print(path)}': ${derivation.message}`) : derivation
    })
  )
