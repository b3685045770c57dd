/**
 * Large buffers, lent out and taken back: making one costs more than filling it.
 *
 * Only so many are kept while nobody has them, so that a busy moment does not cost memory for ever.
 */
import { Effect, type Scope } from "effect"

export interface Buffers {
  readonly bytes: number
  /** Its contents are whatever the last borrower left. It is taken back when the scope closes. */
  readonly borrow: Effect.Effect<Uint8Array, never, Scope.Scope>
}

export const make = (bytes: number, keptMax: number): Buffers => {
  const kept: Array<Uint8Array> = []
  return {
    bytes,
    borrow: Effect.acquireRelease(
      Effect.sync(() => kept.pop() ?? Buffer.allocUnsafeSlow(bytes)),
      (buffer) =>
        Effect.sync(() => {
          if (kept.length < keptMax) kept.push(buffer)
        })
    )
  }
}
