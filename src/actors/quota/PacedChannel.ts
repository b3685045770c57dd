/** A channel whose bytes are paid for, each way, before more of them go by. */
import { Effect } from "effect"
import type { Channel } from "../session/Channel.ts"
import type { Quotas } from "./Quotas.ts"

export const make = (
  channel: Channel,
  { download, upload }: Effect.Success<ReturnType<Quotas["Service"]["paces"]>>
): Channel => {
  let read = 0
  const paid =
    <E>(write: (bytes: Uint8Array) => Effect.Effect<void, E>) =>
    (bytes: Uint8Array) =>
      Effect.andThen(download.pay(bytes.length), write(bytes))

  return {
    ...channel,
    input: {
      // What was read is paid for before the next is looked at: the window stays shut meanwhile.
      peek: Effect.suspend(() => {
        if (read === 0) return channel.input.peek
        const bytes = read
        read = 0
        return Effect.andThen(upload.pay(bytes), channel.input.peek)
      }),
      advance: (count) => {
        read += count
        channel.input.advance(count)
      }
    },
    write: paid(channel.write),
    writeError: paid(channel.writeError)
  }
}
