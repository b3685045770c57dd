/**
 * One SSH channel made into the `Channel` that a session sees, with flow control of its own in both directions.
 *
 * Outward ssh2 buffers whatever it is given, and when both stdout and stderr wait for the window it sends
 * bytes twice. So it is never given more than it can send at once: a write waits here while the peer's
 * window is closed, while the socket is full, and while keys are exchanged.
 *
 * Inward a channel holds what the window allows and no more. The window is opened again as the session reads,
 * and a peer that sends past it loses its connection. Small pieces are joined, since a piece of one byte
 * would otherwise keep alive a hundred times its size.
 *
 *     peer ──window──▶ inbox ──peek/advance──▶ session ──write──▶ window, socket ──▶ peer
 */
import { Deferred, Effect } from "effect"
import type { Account } from "../domain/Account.ts"
import type { Departure } from "../domain/Departure.ts"
import { type Channel, ChannelClosed } from "../actors/session/Channel.ts"

/** What is used of ssh2's channel: partly left out of its types, all of it in its pinned version. */
export interface RawChannel {
  readonly incoming: { window: number }
  readonly outgoing: { window: number; packetSize: number; readonly state: string }
  readonly stderr: { write(bytes: Uint8Array): boolean }
  /** Told by ssh2 of each piece of input, and of its end by `null`. `false`: leave the window as it is. */
  push(bytes: Uint8Array | null): boolean
  /** Opens the window again if it is half used up. */
  _read(size: number): void
  write(bytes: Uint8Array): boolean
  exit(status: number): void
  eof(): void
  close(): void
}

/** What all channels of a connection wait for together. */
export interface Transport {
  /** Bytes given to the socket and not yet taken by the kernel. */
  readonly unsent: () => number
  /** Whether keys are being exchanged, when ssh2 queues what it is given. */
  readonly isRekeying: () => boolean
  /** Sends what is written meanwhile in one go. */
  readonly corked: <A>(write: () => A) => A
}

/** The door's side of a channel. */
export interface SessionChannel extends Channel {
  /** Something that a write may wait for has changed: the socket has drained, keys are exchanged. */
  readonly wake: () => void
  /** The peer has closed the channel, or the connection is gone, by leaving unless it is said to be otherwise. */
  readonly lose: (detail: string, departure?: Departure) => void
  /** Resolves when it is lost. */
  readonly lost: Effect.Effect<void>
  /** Says how it went, and that nothing more comes. */
  readonly finish: (status: number) => void
}

/** A channel does not give the socket more while this much waits in it. */
const unsentMax = 1024 * 1024

/** The most given to ssh2 at once; the peer may want less. */
const packetMax = 32 * 1024

/** A peer that takes less at once makes us spend more on headers than on contents. */
export const packetMin = 1024

/** Below this much unread input the window is opened again. */
const inboxLow = 512 * 1024

/** Pieces shorter than this are joined. */
const pieceMin = 4096

/** A piece may be a part of something this many times its size, which it keeps alive. Else it is copied. */
const keptAliveMax = 4

export const make = (
  raw: RawChannel,
  transport: Transport,
  options: {
    readonly account: Account
    readonly environment: ReadonlyMap<string, string>
  }
): SessionChannel => {
  const closed = Deferred.makeUnsafe<void>()
  const gone = Deferred.makeUnsafe<void>()
  const waiting = new Set<() => void>()
  let lost: string | undefined
  let departure: Departure | null = null
  let changes = 0

  const wake = () => {
    changes++
    // Whoever is resumed runs at once, and may be waiting again before the next is.
    const due = [...waiting]
    for (const resume of due) resume()
  }
  /** Until something changes, or has changed since `seen`: a fiber may pause between looking and waiting. */
  const waitSince = (seen: number) =>
    Effect.callback<void>((resume) => {
      if (changes !== seen) return resume(Effect.void)
      const once = () => {
        waiting.delete(once)
        resume(Effect.void)
      }
      waiting.add(once)
      return Effect.sync(() => waiting.delete(once))
    })
  const fail = Effect.suspend(() => Effect.fail(new ChannelClosed({ detail: lost ?? "the channel is closed" })))

  const inbox = makeInbox(raw, wake, () => Deferred.doneUnsafe(closed, Effect.void))
  watchWindows(raw, wake)
  raw.outgoing.packetSize = Math.min(raw.outgoing.packetSize, packetMax)

  const peek: Effect.Effect<Uint8Array, ChannelClosed> = Effect.suspend(() => {
    if (lost !== undefined) return fail
    const bytes = inbox.peek()
    return bytes === undefined ? Effect.andThen(waitSince(changes), peek) : Effect.succeed(bytes)
  })

  /** Gives ssh2 what it can send now, from `offset` on, and says how far it came. */
  const send = (stream: { write(bytes: Uint8Array): boolean }, bytes: Uint8Array, offset: number): number =>
    transport.corked(() => {
      while (offset < bytes.length && !transport.isRekeying() && transport.unsent() < unsentMax) {
        const count = Math.min(bytes.length - offset, raw.outgoing.window, raw.outgoing.packetSize)
        if (count <= 0) break
        // ssh2 copies what it is given: the caller may use its buffer again.
        stream.write(bytes.subarray(offset, offset + count))
        offset += count
      }
      return offset
    })

  const writeTo = (stream: { write(bytes: Uint8Array): boolean }, bytes: Uint8Array) => {
    let offset = 0
    const proceed: Effect.Effect<void, ChannelClosed> = Effect.suspend(() => {
      if (lost !== undefined || raw.outgoing.state !== "open") return fail
      try {
        offset = send(stream, bytes, offset)
      } catch {
        // ssh2 throws when the socket has ended and nobody has been told yet.
        return fail
      }
      return offset === bytes.length ? Effect.void : Effect.andThen(waitSince(changes), proceed)
    })
    return proceed
  }

  return {
    account: options.account,
    environment: options.environment,
    input: { peek, advance: inbox.advance },
    write: (bytes) => writeTo(raw, bytes),
    writeError: (bytes) => writeTo(raw.stderr, bytes),
    closed: Deferred.await(closed),
    // Its last word, and nobody reads any more: it is as good as gone.
    departure: () => departure ?? (Deferred.isDoneUnsafe(closed) ? "left" : null),
    wake,
    lost: Deferred.await(gone),
    lose: (detail, how = "left") => {
      if (lost !== undefined) return
      lost = detail
      departure = how
      inbox.clear()
      Deferred.doneUnsafe(gone, Effect.void)
      Deferred.doneUnsafe(closed, Effect.void)
      wake()
    },
    finish: (status) => {
      if (lost !== undefined) return
      try {
        raw.exit(status)
        raw.eof()
        raw.close()
      } catch {
        // The socket has ended: there is nobody to tell.
      }
    }
  }
}

/** Takes the place of the stream's own buffer. `onEnd` is called once the input has ended and is all read. */
const makeInbox = (raw: RawChannel, wake: () => void, onEnd: () => void) => {
  const pieces: Array<{ bytes: Uint8Array; used: number }> = []
  let unread = 0
  let ended = false
  let current: Uint8Array = new Uint8Array(0)

  const append = (bytes: Uint8Array) => {
    unread += bytes.length
    const last = pieces.at(-1)
    if (bytes.length >= pieceMin) {
      const own = bytes.length * keptAliveMax >= bytes.buffer.byteLength ? bytes : bytes.slice()
      return void pieces.push({ bytes: own, used: own.length })
    }
    if (last === undefined || last.bytes.length - last.used < bytes.length) {
      // The first of several small pieces gets a buffer with room for those to come.
      const buffer = new Uint8Array(pieces.length === 0 ? bytes.length : 4 * pieceMin)
      buffer.set(bytes)
      return void pieces.push({ bytes: buffer, used: bytes.length })
    }
    last.bytes.set(bytes, last.used)
    last.used += bytes.length
  }

  raw.push = (bytes) => {
    if (bytes === null) {
      ended = true
      if (unread === 0) onEnd()
    } else if (!ended && bytes.length > 0) {
      append(bytes)
    }
    wake()
    return false
  }

  return {
    /** Nothing when there is nothing yet; no bytes when there is no more. */
    peek: () => {
      if (current.length === 0) {
        const next = pieces.shift()
        if (next === undefined) return ended ? current : undefined
        current = next.bytes.subarray(0, next.used)
      }
      return current
    },
    advance: (count: number) => {
      current = current.subarray(count)
      unread -= count
      if (unread < inboxLow) openWindow(raw)
      if (ended && unread === 0) onEnd()
    },
    clear: () => {
      pieces.length = 0
      current = new Uint8Array(0)
      unread = 0
    }
  }
}

const openWindow = (raw: RawChannel) => {
  try {
    raw._read(0)
  } catch {
    // The socket has ended: its events say so to everybody.
  }
}

/**
 * ssh2 keeps both windows as plain numbers and tells nobody when they change. Accessors in their place do:
 * outward, that a write may go on; inward, that the peer has sent more than it may. Throwing there ends the
 * connection, as any other broken rule of the protocol does.
 */
const watchWindows = (raw: RawChannel, wake: () => void) => {
  let outward = raw.outgoing.window
  Object.defineProperty(raw.outgoing, "window", {
    get: () => outward,
    set: (window: number) => {
      const grown = window > outward
      outward = window
      if (grown) wake()
    }
  })
  let inward = raw.incoming.window
  Object.defineProperty(raw.incoming, "window", {
    get: () => inward,
    set: (window: number) => {
      if (window < 0) throw new Error(`expected at most ${inward} bytes of input, found ${inward - window}`)
      inward = window
    }
  })
}
