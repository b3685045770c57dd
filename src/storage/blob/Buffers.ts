/**
 * Large buffers, lent out and taken back: making one costs more than filling it.
 *
 * Only so many are kept while nobody has them, so that a busy moment does not cost memory for ever.
 */
export interface Buffers {
  /** Its contents are whatever the last borrower left. */
  readonly take: () => Uint8Array
  /** To be called once for each that was taken, when nobody looks at it any more. */
  readonly give: (buffer: Uint8Array) => void
}

export const make = (bytes: number, keptMax: number): Buffers => {
  const kept: Array<Uint8Array> = []
  return {
    take: () => kept.pop() ?? Buffer.allocUnsafeSlow(bytes),
    give: (buffer) => {
      if (kept.length < keptMax) kept.push(buffer)
    }
  }
}
