/**
 * The client at the other end of a channel: values read from it, values told to it.
 *
 * What is told is gathered and goes out when it has become a packet's worth, or at `flush`: a word at a time would
 * cost an SSH packet each. Whoever then waits for the client flushes first, since the client waits for us.
 */
import { Effect } from "effect"
import type { Codec, Version, WireError } from "../../protocol/wire/Codec.ts"
import * as Source from "../../protocol/wire/Source.ts"
import type { Channel, ChannelClosed } from "./Channel.ts"

export interface Peer {
  /** What the client sends, past what was read: for NARs and frames. */
  readonly input: Source.Source<ChannelClosed>
  readonly read: <A>(codec: Codec<A>, version: Version) => Effect.Effect<A, WireError | ChannelClosed>
  readonly tell: <A>(codec: Codec<A>, value: A, version: Version) => Effect.Effect<void, ChannelClosed>
  /** Bytes that may be changed once this returns. */
  readonly tellBytes: (bytes: Uint8Array) => Effect.Effect<void, ChannelClosed>
  readonly flush: Effect.Effect<void, ChannelClosed>
}

/** The most that is written at once: two SSH packets. */
const writeBytes = 64 * 1024

/** Most replies: for these a buffer each would be the larger part of what an operation costs. */
const shortBytes = 4 * 1024

/** Memory of its own, not cleared first: every byte is written before it goes out. */
const fresh = (): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(writeBytes).buffer)

export const make = (channel: Channel): Peer => {
  let buffer = fresh()
  let length = 0

  const flush = Effect.suspend(() => {
    if (length === 0) return Effect.void
    // The channel may hold on to what it was given: a short reply is copied, a long one gives the buffer away.
    const isShort = length <= shortBytes
    const written = isShort ? buffer.slice(0, length) : buffer.subarray(0, length)
    if (!isShort) buffer = fresh()
    length = 0
    return channel.write(written)
  })

  const tellBytes = Effect.fnUntraced(function* (bytes: Uint8Array) {
    for (let offset = 0; offset < bytes.length;) {
      const part = bytes.subarray(offset, offset + writeBytes - length)
      buffer.set(part, length)
      length += part.length
      offset += part.length
      if (length === writeBytes) yield* flush
    }
  })

  const tell = Effect.fnUntraced(function* <A>(codec: Codec<A>, value: A, version: Version) {
    for (const bytes of codec.encode(value, version)) {
      if (length + bytes.length < writeBytes) {
        buffer.set(bytes, length)
        length += bytes.length
      } else yield* tellBytes(bytes)
    }
  })

  return { input: channel.input, read: Source.reader(channel.input), tell, tellBytes, flush }
}
