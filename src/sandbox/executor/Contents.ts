/**
 * What is still on an executor's channel of a piece of an output: handed on as it comes, and its memory given back.
 *
 * A socket of Node's makes new memory for all that it reads. Left to the collector, which counts it, every twenty or so
 * megabytes of an output are a full collection, during which nothing else is done: half of what reading them costs. So a
 * chunk of which nothing but contents has been read is emptied once the next is asked for, as `Source` allows. What holds
 * anything else, a piece of the log say, is left alone: that may be kept by whoever was told of it.
 */
import { Effect } from "effect"
import * as Source from "../../protocol/wire/Source.ts"
import { SandboxError } from "../SandboxError.ts"

export interface Contents {
  /** So many bytes of contents follow. */
  readonly begin: (length: number) => void
  readonly left: () => number
  readonly peek: Effect.Effect<Uint8Array, SandboxError>
  readonly advance: (count: number) => void
}

/** What is shorter costs less than it takes to look after it, or lies in memory that others have a part of. */
const chunkBytesMin = 16 * 1024

/** A chunk as it came, in memory of its own, and how much of it was contents so far. */
interface Chunk {
  readonly memory: ArrayBuffer
  used: number
}

export const make = (input: Source.Source<SandboxError>): Contents => {
  let left = 0
  let current: Chunk | null = null

  const turnTo = ({ buffer, length }: Uint8Array) => {
    if (current?.memory === buffer) return
    // Emptied: its memory is free at once, and whoever still looked at it would find no bytes.
    if (current !== null && current.used === current.memory.byteLength) current.memory.transfer(0)
    const isAlone = buffer instanceof ArrayBuffer && length === buffer.byteLength && length >= chunkBytesMin
    current = isAlone ? { memory: buffer, used: 0 } : null
  }

  return {
    begin: (length) => {
      left = length
    },
    left: () => left,
    peek: Effect.flatMap(input.peek, (chunk) => {
      if (chunk.length === 0) return Effect.fail(ended())
      turnTo(chunk)
      return Effect.succeed(chunk.length > left ? chunk.subarray(0, left) : chunk)
    }),
    advance: (count) => {
      left -= count
      if (current !== null) current.used += count
      input.advance(count)
    }
  }
}

const ended = () => new SandboxError({ operation: "listening to the executor", detail: Source.ended("a NAR").message })
