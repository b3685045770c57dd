/**
 * What a client hears of a build while it waits: the builder's log, and lines of the service's own.
 *
 * Whatever has come by the time the last write is done goes out in one write: a slow client costs few writes, and
 * an idle build's line is not held back. At most `heardMax` pieces wait here; past that the log itself waits.
 *
 * A service line is a log line like any other to the client, which shows the last one while the build runs, and it
 * never stands inside a line of the builder's.
 */
import { Effect, type Scope, Stream } from "effect"
import type { Version } from "../../protocol/wire/Codec.ts"
import * as Stderr from "../../protocol/wire/Stderr.ts"
import type { Heard } from "../build/Builds.ts"
import type { Channel, ChannelClosed } from "./Channel.ts"
import * as LogLines from "./LogLines.ts"
import type { Peer } from "./Peer.ts"

/** Pieces of a log are tens of kilobytes at most, so that a client that does not read costs some megabytes. */
const heardMax = 32

/** Protocols from which on clients know activities, and take log lines that are no UTF-8. */
const activitiesSince = 0x0114
const bytesSince = 0x0116

/** Runs `tell` on all that has come since it last ended. */
const inBatches = <E>(
  heard: Stream.Stream<Heard>,
  tell: (batch: ReadonlyArray<Heard>) => Effect.Effect<void, E>
): Effect.Effect<void, E, Scope.Scope> =>
  Effect.flatMap(Stream.toQueue(heard, { capacity: heardMax }), (queue) =>
    Stream.runForEachArray(Stream.fromQueue(queue), tell)
  )

/** By the worker protocol, as results of the activity `id`. Returns when the log has ended. */
export const tellWorker = (options: {
  readonly peer: Peer
  readonly version: Version
  readonly id: bigint
  readonly heard: Stream.Stream<Heard>
}): Effect.Effect<void, ChannelClosed, Scope.Scope> => {
  const { heard, id, peer } = options
  const version = options.version & 0xffff
  const lines = LogLines.make()

  const message = (said: LogLines.Said): Stderr.Message | null => {
    if (said._tag === "Phase") return version < activitiesSince ? null : Stderr.setPhase(id, said.name)
    const bytes = version < bytesSince ? readable(said.bytes) : said.bytes
    return version < activitiesSince ? Stderr.notice(`${new TextDecoder().decode(bytes)}\n`) : Stderr.logLine(id, bytes)
  }

  const tell = Effect.fnUntraced(function* (said: ReadonlyArray<LogLines.Said>) {
    for (const one of said) {
      const told = message(one)
      if (told !== null) yield* peer.tell(Stderr.Message, told, options.version)
    }
  })

  return inBatches(heard, (batch) =>
    Effect.forEach(batch, (one) => tell(one._tag === "Log" ? lines.push(one.bytes) : [serviceLine(one.line)]), {
      discard: true
    }).pipe(Effect.andThen(peer.flush))
  ).pipe(Effect.andThen(Effect.suspend(() => tell(lines.end()))))
}

/** By the serve protocol, which knows a channel's stderr and nothing of lines: the bytes as they are. */
export const tellServe = (
  channel: Channel,
  heard: Stream.Stream<Heard>
): Effect.Effect<void, ChannelClosed, Scope.Scope> => {
  const newline = Uint8Array.of(0x0a)
  let atLineStart = true

  const bytes = (one: Heard): ReadonlyArray<Uint8Array> => {
    const before = one._tag === "Service" && !atLineStart ? [newline] : []
    const piece = one._tag === "Log" ? one.bytes : new TextEncoder().encode(`${one.line}\n`)
    if (piece.length > 0) atLineStart = piece.at(-1) === newline[0]
    return [...before, piece]
  }

  return inBatches(heard, (batch) => channel.writeError(Buffer.concat(batch.flatMap(bytes)))).pipe(
    // The client reads by line, and would lose a last one that nothing ends.
    Effect.andThen(Effect.suspend(() => (atLineStart ? Effect.void : channel.writeError(newline))))
  )
}

const serviceLine = (line: string): LogLines.Said => ({ _tag: "Line", bytes: new TextEncoder().encode(line) })

/** Bytes that are no UTF-8 end the connection of Nix 2.3: each becomes U+FFFD. */
const readable = (bytes: Uint8Array): Uint8Array =>
  new TextEncoder().encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes))
