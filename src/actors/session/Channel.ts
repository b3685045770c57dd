/**
 * One SSH channel as a session sees it: bytes in, bytes out, and who is at the other end.
 *
 * Writing waits while the peer does not read. Input ends with the peer's EOF; either fails once the channel is gone.
 */
import { type Effect, Schema } from "effect"
import type { Account } from "../../domain/Account.ts"
import type { Departure } from "../../domain/Departure.ts"
import type { Source } from "../../protocol/wire/Source.ts"

/** The peer is gone: nothing more can be read from it or told to it. */
export class ChannelClosed extends Schema.TaggedError<ChannelClosed>()("ChannelClosed", {
  detail: Schema.String
}) {}

export interface Channel {
  readonly account: Account
  /** What the client set by SendEnv or SetEnv, by name. */
  readonly environment: ReadonlyMap<string, string>
  readonly input: Source<ChannelClosed>
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, ChannelClosed>
  /** To the channel's stderr: the build log over `ssh://`. */
  readonly writeError: (bytes: Uint8Array) => Effect.Effect<void, ChannelClosed>
  /** Resolves when the peer has closed the channel or its EOF has come while nobody reads: nobody waits any more. */
  readonly closed: Effect.Effect<void>
  /** How the peer is gone; null while it is there, also when it is we who end. */
  readonly departure: () => Departure | null
}
