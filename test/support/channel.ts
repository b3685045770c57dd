/**
 * A channel with nothing between its ends: a session at the one, and a test that speaks as its client at the other.
 *
 * It behaves as an SSH channel does: writing waits once the other end has left a window's worth unread, an end of
 * input is seen after what was sent before it, and closing fails whoever reads or writes.
 */
import { Bytes, Deferred, Effect, Latch } from "effect"
import { type Channel, ChannelClosed } from "../../src/actors/session/Channel.ts"
import type { Account } from "../../src/domain/Account.ts"
import type { Departure } from "../../src/domain/Departure.ts"
import * as Source from "../../src/protocol/wire/Source.ts"

export interface Client {
  /** What the session writes. */
  readonly input: Source.Source<ChannelClosed>
  readonly send: (bytes: Uint8Array) => Effect.Effect<void, ChannelClosed>
  /** The client has nothing more to say, and still listens. */
  readonly end: Effect.Effect<void>
  /** The client is gone. */
  readonly close: Effect.Effect<void>
  /** Nothing is heard of the client any more. */
  readonly fallSilent: Effect.Effect<void>
  /** What has come on stderr so far. */
  readonly errors: () => string
  /** All that has come and was not read. */
  readonly rest: Effect.Effect<Uint8Array, ChannelClosed>
  /** How many writes the session has made. */
  readonly writes: () => number
  /** Bytes that the session has written and the client has not read. */
  readonly unread: () => number
}

/** One direction: bytes in order, read once. */
class Pipe {
  private readonly chunks: Array<Uint8Array> = []
  private readonly changed = Latch.makeUnsafe(false)
  private readonly window: number
  private ended = false
  private closed = false
  unread = 0
  writes = 0
  /** Called when everything was read and nothing more will come. */
  onDrained: () => void = () => {}

  constructor(window: number) {
    this.window = window
  }

  private readonly notify = () => {
    this.changed.openUnsafe()
    this.changed.closeUnsafe()
    if (this.ended && this.unread === 0) this.onDrained()
  }

  private readonly until = (done: () => boolean): Effect.Effect<void, ChannelClosed> =>
    Effect.suspend(() => {
      if (done()) return Effect.void
      if (this.closed) return Effect.fail(new ChannelClosed({ detail: "the peer has closed the channel" }))
      return Effect.andThen(this.changed.await, this.until(done))
    })

  readonly write = (bytes: Uint8Array): Effect.Effect<void, ChannelClosed> =>
    Effect.suspend(() => {
      if (this.closed) return Effect.fail(new ChannelClosed({ detail: "the peer has closed the channel" }))
      this.writes++
      if (bytes.length > 0) {
        // Copied, as a socket does: whoever wrote may use the bytes again.
        this.chunks.push(bytes.slice())
        this.unread += bytes.length
        this.notify()
      }
      return this.until(() => this.unread <= this.window)
    })

  readonly source: Source.Source<ChannelClosed> = {
    peek: Effect.suspend(() =>
      Effect.map(
        this.until(() => this.unread > 0 || this.ended),
        () => this.chunks[0] ?? new Uint8Array(0)
      )
    ),
    advance: (count) => {
      const rest = this.chunks[0]!.subarray(count)
      if (rest.length === 0) this.chunks.shift()
      else this.chunks[0] = rest
      this.unread -= count
      this.notify()
    }
  }

  readonly end = () => {
    this.ended = true
    this.notify()
  }

  readonly close = () => {
    this.closed = true
    this.notify()
  }
}

export const make = (
  account: Account,
  options: { readonly windowBytes?: number } = {}
): {
  readonly channel: Channel
  readonly client: Client
} => {
  const window = options.windowBytes ?? 2 * 1024 * 1024
  const [toServer, toClient] = [new Pipe(window), new Pipe(window)]
  const errors: Array<Uint8Array> = []
  const closed = Deferred.makeUnsafe<void>()
  let departure: Departure | null = null
  const close = () => {
    toServer.close()
    toClient.close()
    Deferred.doneUnsafe(closed, Effect.void)
  }
  toServer.onDrained = () => Deferred.doneUnsafe(closed, Effect.void)
  return {
    channel: {
      account,
      environment: new Map(),
      input: toServer.source,
      write: toClient.write,
      writeError: (bytes) => Effect.sync(() => void errors.push(bytes.slice())),
      closed: Deferred.await(closed),
      departure: () => departure ?? (Deferred.isDoneUnsafe(closed) ? "left" : null)
    },
    client: {
      input: toClient.source,
      send: toServer.write,
      end: Effect.sync(toServer.end),
      close: Effect.sync(close),
      fallSilent: Effect.sync(() => {
        departure = "silent"
        close()
      }),
      errors: () => new TextDecoder().decode(Bytes.concat(errors)),
      rest: Effect.suspend(() => Source.take(toClient.source, toClient.unread)).pipe(
        Effect.catchTag("WireError", Effect.die)
      ),
      writes: () => toClient.writes,
      unread: () => toClient.unread
    }
  }
}
