/**
 * What a client's environment asks for its builds. What of it cannot be followed is said on the channel's stderr, once
 * and before anything else: with either protocol that is where its user looks.
 */
import { Effect } from "effect"
import * as Settings from "../../domain/Settings.ts"
import type { Channel, ChannelClosed } from "./Channel.ts"

export const of = Effect.fnUntraced(function* (channel: Channel): Effect.fn.Return<Settings.Settings, ChannelClosed> {
  const { complaints, settings } = Settings.read(channel.environment)
  if (complaints.length > 0) {
    const lines = complaints.map((complaint) => `drover: ${complaint}\n`)
    yield* channel.writeError(new TextEncoder().encode(lines.join("")))
  }
  return settings
})
