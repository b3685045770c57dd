/**
 * A duplex stream of Node's as the channel to an executor: nothing is read ahead but what the stream itself buffers, and
 * a write waits until the executor has taken what was written before.
 */
import { Effect } from "effect"
import type { Duplex } from "node:stream"
import type { Source } from "../../protocol/wire/Source.ts"
import { SandboxError } from "../SandboxError.ts"

export interface ExecutorChannel {
  readonly input: Source<SandboxError>
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, SandboxError>
}

const events = ["readable", "end", "error", "close", "drain"] as const

const gone = (detail: string, cause?: unknown) =>
  new SandboxError({ operation: "talking to the executor", detail, ...(cause === undefined ? {} : { cause }) })

export const make = (stream: Duplex): ExecutorChannel => {
  let current: Uint8Array = new Uint8Array(0)

  /** Resolves on whatever happens next; what it was is then looked at. */
  const change = Effect.callback<void>((resume) => {
    const happened = () => {
      for (const event of events) stream.off(event, happened)
      resume(Effect.void)
    }
    for (const event of events) stream.on(event, happened)
    return Effect.sync(() => {
      for (const event of events) stream.off(event, happened)
    })
  })
  // Between two waits nobody else listens, and an error without a listener would end the process.
  stream.on("error", () => {})

  const peek: Effect.Effect<Uint8Array, SandboxError> = Effect.suspend(() => {
    if (current.length > 0) return Effect.succeed(current)
    // A stream without an encoding reads buffers.
    const chunk = stream.read() as Uint8Array | null
    if (chunk !== null) {
      current = chunk
      return Effect.succeed(current)
    }
    if (stream.readableEnded) return Effect.succeed(current)
    if (stream.errored !== null || stream.destroyed) {
      return Effect.fail(gone("the connection is gone", stream.errored ?? undefined))
    }
    return Effect.andThen(change, peek)
  })

  const drained: Effect.Effect<void, SandboxError> = Effect.suspend(() => {
    if (stream.errored !== null || stream.destroyed) {
      return Effect.fail(gone("the connection is gone", stream.errored ?? undefined))
    }
    return stream.writableNeedDrain ? Effect.andThen(change, drained) : Effect.void
  })

  return {
    input: {
      peek,
      advance: (count) => {
        current = current.subarray(count)
      }
    },
    write: (bytes) =>
      Effect.suspend(() => {
        if (stream.writable) stream.write(bytes)
        return drained
      })
  }
}
