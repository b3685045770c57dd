/**
 * Learns listings without holding up whoever reads from a disk: a small one at once, which takes a millisecond, and a
 * large one, of a directory with a million files say, in a thread of its own. There is one such thread, while anybody
 * needs it, so what takes long delays nothing but others of its kind.
 */
import { Worker } from "node:worker_threads"
import { learn } from "./Learning.ts"
import type { NarImage } from "./NarImage.ts"

/** Of a listing as it is stored, deflated: some thousand files. */
const smallBytesMax = 32 * 1024

/** Memory of the thread: for ten million files, and no end of one listing is the end of this process. */
const threadMebibytesMax = 6 * 1024

type Told = (learned: NarImage | string) => void

export class Learner {
  #thread: Worker | null = null
  /** In the order in which they were asked. */
  readonly #waiting: Array<Told> = []

  /** Calls back with what the NAR contributes to images, or with what is wrong with its listing. */
  learn(listing: Uint8Array, told: Told): void {
    if (listing.length <= smallBytesMax) return told(learn(listing))
    this.#waiting.push(told)
    this.#running().postMessage(listing)
  }

  #running(): Worker {
    if (this.#thread !== null) return this.#thread
    const thread = new Worker(new URL("./LearnerThread.ts", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: threadMebibytesMax }
    })
    thread.on("message", (learned: NarImage | string) => {
      this.#waiting.shift()?.(learned)
      if (this.#waiting.length === 0) this.#end(thread)
    })
    // It then ends by itself. Which listing it was nobody knows for certain, so all of them are refused.
    thread.on("error", (error) => {
      this.#thread = null
      for (const told of this.#waiting.splice(0)) told(error.message)
    })
    this.#thread = thread
    return thread
  }

  #end(thread: Worker): void {
    this.#thread = null
    void thread.terminate()
  }
}
