/**
 * What NARs contribute to images, remembered: most of a closure is that of the build before. The least recently used
 * are forgotten once all together exceed the budget.
 */
import type { Sha256 } from "../../protocol/nix/Hash.ts"
import type { StoredNar } from "../ClosureSource.ts"
import type { NarImage } from "./NarImage.ts"

export interface Known {
  readonly image: NarImage
  readonly contents: StoredNar["contents"]
}

export class NarImages {
  readonly #budgetBytes: number
  /** The one used longest ago first. */
  readonly #known = new Map<Sha256, Known>()
  #bytes = 0

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes
  }

  find(narHash: Sha256): Known | null {
    const known = this.#known.get(narHash)
    if (known === undefined) return null
    this.#known.delete(narHash)
    this.#known.set(narHash, known)
    return known
  }

  add(narHash: Sha256, known: Known): void {
    this.#forget(narHash)
    this.#known.set(narHash, known)
    this.#bytes += bytesOf(known)
    for (const oldest of this.#known.keys()) {
      if (this.#bytes <= this.#budgetBytes) break
      this.#forget(oldest)
    }
  }

  #forget(narHash: Sha256): void {
    const known = this.#known.get(narHash)
    if (known === undefined) return
    this.#known.delete(narHash)
    this.#bytes -= bytesOf(known)
  }
}

const bytesOf = ({ contents, image }: Known): number =>
  image.bytes + (contents._tag === "Bytes" ? contents.bytes.length : 0)
