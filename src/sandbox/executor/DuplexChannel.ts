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

  const isGone = () => stream.errored !== null || stream.destroyed
  const hasInput = () => stream.readableLength > 0 || stream.readableEnded || isGone()
  const hasRoom = () => !stream.writableNeedDrain || isGone()

  /** Resolves once it is so, or whatever may have made it so has happened: that is then looked at. */
  const until = (isSo: () => boolean) =>
    Effect.callback<void>((resume) => {
      // What has happened since it was last looked at would not happen again: a fiber may pause between the two.
      if (isSo()) return resume(Effect.void)
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
    if (isGone()) return Effect.fail(gone("the connection is gone", stream.errored ?? undefined))
    return Effect.andThen(until(hasInput), peek)
  })

  const drained: Effect.Effect<void, SandboxError> = Effect.suspend(() => {
    if (isGone()) return Effect.fail(gone("the connection is gone", stream.errored ?? undefined))
    return hasRoom() ? Effect.void : Effect.andThen(until(hasRoom), drained)
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
