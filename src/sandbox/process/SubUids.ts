/**
 * User and group ids for builds, two for each at a time: one for its executor, one for its builder. They are ids of the
 * wide user namespace, in which 0 is ourselves.
 *
 * A pair is given again only once everything that ran under it is gone and nothing of it is left on disk, so a build
 * can never meet what another left. Whoever cannot say that does not give it back.
 */
import { SandboxError } from "../SandboxError.ts"

export interface Pair {
  readonly executor: number
  readonly builder: number
}

export class SubUids {
  readonly #free: Array<Pair> = []
  #next = 1
  readonly #count: number

  /** `count`: how many ids there are, from 1 on. */
  constructor(count: number) {
    this.#count = count
  }

  take(): Pair | SandboxError {
    const free = this.#free.pop()
    if (free !== undefined) return free
    if (this.#next + 1 > this.#count) {
      return new SandboxError({ operation: "taking user ids", detail: `all ${this.#count} are in use` })
    }
    const pair = { executor: this.#next, builder: this.#next + 1 }
    this.#next += 2
    return pair
  }

  give(pair: Pair): void {
    this.#free.push(pair)
  }
}
