/**
 * Where clients come in: each session runs in the server's life, as the SSH door runs it and `main.ts` has it handled,
 * and its client in a life of its own, which no server's end touches.
 */
import { Cause, type Context, Effect, Exit, type Fiber } from "effect"
import type { Builds } from "../../src/actors/build/Builds.ts"
import { recorded } from "../../src/actors/build/Recorded.ts"
import * as PacedChannel from "../../src/actors/quota/PacedChannel.ts"
import { Quotas } from "../../src/actors/quota/Quotas.ts"
import type { Channel } from "../../src/actors/session/Channel.ts"
import * as ServeSession from "../../src/actors/session/ServeSession.ts"
import * as WorkerSession from "../../src/actors/session/WorkerSession.ts"
import type { AccountId } from "../../src/domain/Account.ts"
import type { Chance } from "./Chance.ts"
import type { Client } from "./Client.ts"
import type { Life } from "./Universe.ts"
import { type Door, doorOf, End } from "./Wire.ts"

/** What a client has of a connection: its own end, and a way to be told when the other is no more. */
export interface Wire {
  readonly end: End
  /** The server is gone, or what it says does not come through. */
  readonly cut: () => void
  /** The client goes: at once, or it has nothing more to say, reads nothing any more, and goes later. */
  readonly leave: () => void
  /** Nothing is heard of the client: the server notices it at some time. */
  readonly fallSilent: () => void
}

export interface Session {
  readonly account: AccountId
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

/** Milliseconds until a server gives up a client of which it hears nothing. */
const silenceMax = 45_000

/** Milliseconds for which a client that has nothing more to say may be there. */
const lingerMax = 30_000

/** Small enough that what is said has to wait now and then, as over SSH it has with long logs. */
const windows = [64, 1024, 65_536]

/** What the SSH door does with a command, and `main.ts` by its handler. */
const handle = (protocol: "worker" | "serve", unpaced: Channel) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { paces, take } = yield* Quotas
      const { account } = unpaced
      const refusal = yield* recorded(
        take(account, "connections").pipe(
          Effect.as(null),
          Effect.catchTag("QuotaReached", ({ message }) => Effect.succeed(message))
        )
      )
      if (refusal !== null) {
        yield* Effect.ignore(unpaced.writeError(new TextEncoder().encode(`drover: ${refusal}\n`)))
        return 1
      }
      const channel = PacedChannel.make(unpaced, yield* recorded(paces(account.id)))
      return yield* protocol === "worker" ? WorkerSession.run(channel) : ServeSession.run(channel, { writable: true })
    })
  )

/** One session from its command to its end, which is that of the channel. */
const runSession = (protocol: "worker" | "serve", { channel, finish, lost }: Door, complain: (wrong: string) => void) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(handle(protocol, channel))
    if (Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)) {
      complain(`a session of ${channel.account.name} died: ${Cause.pretty(exit.cause)}`)
    }
    finish()
  }).pipe(Effect.raceFirst(lost))

export interface Options {
  readonly chance: Chance
  /** Of the server. */
  readonly life: Life
  /** Of those who come. */
  readonly outside: Life
  readonly services: Context.Context<Builds | WorkerSession.Services>
  readonly sessions: Set<Session>
  readonly complain: (wrong: string) => void
}

/** A client comes in, and gets its end of the connection. */
export const admit = (client: Client, options: Options): { readonly wire: Wire; readonly session: Session } => {
  const { chance, complain, life, outside, services, sessions } = options
  const windowBytes = chance.pick(windows)
  const [theirs, ours] = [new End(outside, chance, windowBytes), new End(life, chance, windowBytes)]
  End.join(theirs, ours)
  const door = doorOf(ours, client.account, client.environment)
  const protocol = client.way === "serve" ? "serve" : "worker"
  const fiber = life.run(runSession(protocol, door, complain), services)
  const session: Session = { account: client.account.id, fiber }
  sessions.add(session)
  fiber.addObserver(() => sessions.delete(session))
  const wire: Wire = {
    end: theirs,
    cut: () => void outside.after(chance.below(300), () => theirs.lose("the connection is lost")),
    leave: () => {
      if (chance.happens(0.5)) return theirs.close()
      theirs.end()
      outside.after(chance.below(lingerMax), () => theirs.close())
    },
    fallSilent: () => void life.after(chance.below(silenceMax), door.giveUp)
  }
  return { wire, session }
}
