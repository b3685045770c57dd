/**
 * What is heard of a stream whose other end may say anything at any rate: so much a turn, and the rest waits there.
 *
 * A machine's monitor, its console and QEMU's own complaints come unasked, and each word of them is taken on the loop that
 * serves everybody. So a flood costs what its first megabyte each second costs.
 */
import type { Readable } from "node:stream"

/** Bytes a turn. A whole boot says a fiftieth of it. */
export const turnBytesMax = 1024 * 1024

export class Hearing {
  readonly #stream: Readable | null
  #bytes = 0

  /** `take` is told what comes, decoded. A stream that there is not says nothing. */
  constructor(stream: Readable | null, encoding: "latin1" | "utf8", take: (text: string) => void) {
    this.#stream = stream
    stream?.setEncoding(encoding).on("data", (text: string) => {
      this.#bytes += text.length
      if (this.#bytes >= turnBytesMax) stream.pause()
      take(text)
    })
    stream?.on("error", () => {})
  }

  /** A turn has passed. */
  turn(): void {
    this.#bytes = 0
    if (this.#stream?.isPaused() === true) this.#stream.resume()
  }

  /** Nothing more is heard. */
  end(): void {
    this.#stream?.destroy()
  }
}
