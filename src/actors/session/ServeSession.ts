/**
 * A session that speaks the serve protocol: `nix-store --serve`, which `ssh://` runs.
 *
 *     handshake, then as often as the client likes
 *     code, request, upload  ──▶  response, download
 *
 * There is no word for an error here: what goes wrong is a line on the channel's stderr, and the session ends with
 * exit status 1. A client may send several commands at once; they are answered in order.
 */
import { Effect, type Scope } from "effect"
import * as Command from "../../protocol/serve/Command.ts"
import * as Handshake from "../../protocol/serve/Handshake.ts"
import * as AskedSettings from "./AskedSettings.ts"
import * as Request from "../../telemetry/Request.ts"
import type { Channel, ChannelClosed } from "./Channel.ts"
import * as Download from "./Download.ts"
import * as Peer from "./Peer.ts"
import { type Answered, handlers, type Handlers, type Server } from "./serve/Commands.ts"
import { explain, refuse, type Trouble } from "./Trouble.ts"
import type { Services } from "./worker/Worker.ts"

type Failure = Trouble | ChannelClosed

/** Speaks until the client has nothing more to say. Answers the exit status. */
export const run = (
  channel: Channel,
  options: { readonly writable: boolean }
): Effect.Effect<number, never, Services> => {
  const say = (trouble: Trouble) =>
    Effect.flatMap(explain(trouble), (sentence) =>
      channel.writeError(new TextEncoder().encode(`error: ${sentence}\n`)).pipe(Effect.ignore, Effect.as(1))
    )

  return Effect.gen(function* () {
    const version = yield* Handshake.accept(channel.input, channel.write)
    const server = {
      channel,
      peer: Peer.make(channel),
      version,
      settings: yield* AskedSettings.of(channel),
      requests: Request.make(channel.environment, "ssh")
    }
    while ((yield* channel.input.peek).length > 0) yield* Effect.scoped(perform(server, options.writable))
    return 0
  }).pipe(
    Effect.catchTags({
      Refusal: say,
      StorageError: say,
      WireError: say,
      // Nobody is there to be told.
      ChannelClosed: () => Effect.succeed(1),
      OutOfStep: () => Effect.succeed(1)
    })
  )
}

const perform = Effect.fnUntraced(function* (server: Server, writable: boolean) {
  const { channel, peer, version } = server
  const code = yield* peer.read(Command.Code, version)
  const name = Command.find(code)
  if (name === undefined) return yield* refuse(`unknown serve command ${code}`)
  if (Command.commands[name].writes && !writable) return yield* refuse(`${name} needs 'nix-store --serve --write'`)
  if (name !== "DumpStorePath") return yield* answer(server, name)

  const { path } = yield* peer.read(Command.commands.DumpStorePath.request, version)
  yield* Download.tell(peer, yield* Download.open(channel.account.view, path))
})

const answer = Effect.fnUntraced(function* <N extends Answered>(
  server: Server,
  name: N
): Effect.fn.Return<void, Failure, Services | Scope.Scope> {
  const { peer, requests, version } = server
  // An entry of the table by its name has the request and the response of that name.
  const { request, response, upload } = Command.commands[name] as unknown as Command.Command<
    Command.Request<N>,
    Command.Response<N>
  >
  const handler: Handlers[N] = handlers[name]
  const responding = handler(server, yield* peer.read(request, version))
  yield* peer.tell(response, yield* upload === "none" ? responding : requests.upload(responding), version)
  yield* peer.flush
})
