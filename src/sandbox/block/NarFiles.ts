/**
 * The files of NARs, open for reading: each once, however many disks show it, and no more of them than a bound.
 *
 * One that is being read stays open until it has been; else the one that was used longest ago is closed.
 */
import * as fs from "node:fs"

/** Descriptors. A closure may have more NARs, of which a build reads a few. */
const openMaxUsual = 512

interface OpenFile {
  readonly descriptor: number
  reads: number
  /** Closed as soon as nobody reads. */
  isDismissed: boolean
}

export class NarFiles {
  /** The one used longest ago first. */
  readonly #open = new Map<string, OpenFile>()
  readonly #openMax: number

  constructor(openMax = openMaxUsual) {
    this.#openMax = openMax
  }

  /** Calls back with how many bytes there were, or with why there are none. */
  read(
    path: string,
    target: { readonly bytes: Uint8Array; readonly at: number; readonly length: number },
    position: number,
    done: (error: Error | null, count: number) => void
  ): void {
    let file: OpenFile
    try {
      file = this.#take(path)
    } catch (error) {
      // What `open` throws is one.
      done(error as Error, 0)
      return
    }
    file.reads++
    fs.read(file.descriptor, target.bytes, target.at, target.length, position, (error, count) => {
      file.reads--
      if (file.isDismissed && file.reads === 0) fs.closeSync(file.descriptor)
      done(error, count)
    })
  }

  #take(path: string): OpenFile {
    const found = this.#open.get(path)
    const file = found ?? {
      descriptor: fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW),
      reads: 0,
      isDismissed: false
    }
    this.#open.delete(path)
    this.#open.set(path, file)
    if (this.#open.size > this.#openMax) this.#dismissOldest()
    return file
  }

  #dismissOldest(): void {
    for (const [path, file] of this.#open) {
      this.#open.delete(path)
      file.isDismissed = true
      if (file.reads === 0) fs.closeSync(file.descriptor)
      return
    }
  }
}
