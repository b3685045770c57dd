/**
 * One SSH connection from its first byte to its last: who it is, its sessions, and why it ended.
 *
 *     waiting for a key ──accepted──▶ serving sessions ──▶ ended
 *            └─── too many attempts, too slow ──────────────┘
 *
 * The connection is a scope. Each session is a fiber in it, so the peer's leaving ends them all, and what they
 * held is given back before the connection is forgotten. A session's defect ends that session alone. How
 * bytes become events is `SshServer`'s business; nothing here knows ssh2.
 */
import { Cause, Deferred, type Duration, Effect, Exit, FiberSet, Option, Queue, Result, type Scope } from "effect"
import * as crypto from "node:crypto"
import type { Channel } from "../actors/session/Channel.ts"
import type { Account } from "../domain/Account.ts"
import * as Metrics from "../telemetry/Metrics.ts"
import type { Departure } from "../domain/Departure.ts"
import { Authentication, fingerprint, isEd25519, isSignedBy } from "./Authentication.ts"
import { type Command, type CommandRefused, refusedStatus } from "./Command.ts"
import type { SessionChannel } from "./SessionChannel.ts"

/** Why a connection ended. */
export type End =
  /** The peer has closed it, or its socket has failed. */
  | "left"
  /** The peer has not answered keep-alives, or the network has lost it: it may come back. */
  | "silent"
  /** The peer has broken the rules of SSH. */
  | "broken"
  /** The peer had no key that is known, after as many attempts as there are; or its account has no connection left. */
  | "refused"
  /** The peer did not authenticate in time, or others wanted its place. */
  | "expired"

/** A client asks to be let in. */
export interface KeyOffered {
  readonly _tag: "KeyOffered"
  /** Absent for every other method than `publickey`. */
  readonly publicKey: Uint8Array | null
  /** Absent while the client only asks whether the key would do. */
  readonly proof: { readonly signed: Uint8Array; readonly signature: Uint8Array } | null
  readonly accept: () => void
  readonly reject: () => void
}

/** A client wants a command executed on a channel of its own. */
export interface SessionOpened {
  readonly _tag: "SessionOpened"
  readonly command: Result.Result<Command, CommandRefused>
  readonly channel: SessionChannel
}

/** Answers a session, and says its exit status. Interrupted when its channel is closed. */
export type Handler<R> = (command: Command, channel: Channel) => Effect.Effect<number, never, R>

export interface ConnectionLimits {
  /** Methods and keys rejected before a connection ends. Clients offer every key of their agent. */
  readonly attemptsMax: number
  /** From the first byte to being authenticated. */
  readonly handshakeTime: Duration.Input
}

/** The socket, as far as a connection ends it. */
export interface Wire {
  /** Says goodbye. The peer may take its time to hear it. */
  readonly end: () => void
  /** Without a word, at once. Harmless when repeated. */
  readonly destroy: () => void
  /** Resolves when the socket is gone. */
  readonly gone: Effect.Effect<void>
}

export interface Connection {
  /** Leaves an event for the connection's fiber. */
  readonly tell: (event: KeyOffered | SessionOpened) => void
  /** The account, once a key has been accepted. */
  readonly account: () => Account | undefined
  /** How many sessions have not come to their end. */
  readonly sessions: () => number
  /** Everything that waits for the socket looks again. */
  readonly wake: () => void
  /** It is over, for the connection and every session in it. The first reason counts. */
  readonly end: (reason: End) => void
  /** Serves the connection until it ends. `admitted` is called when it has authenticated. */
  readonly run: <R>(
    handler: Handler<R>,
    admitted: () => void
  ) => Effect.Effect<End, never, Authentication | Exclude<R, Scope.Scope>>
}

const departureOf = (reason: End): Departure => (reason === "silent" ? "silent" : "left")

/** How long a peer has for hearing why it is sent away. */
const lingerTime: Duration.Input = "1 second"

export const make = Effect.fnUntraced(function* (wire: Wire, limits: ConnectionLimits): Effect.fn.Return<Connection> {
  // Bounded by what tells: ssh2 holds few attempts at a time, `SshServer` few sessions.
  const events = yield* Queue.unbounded<KeyOffered | SessionOpened>()
  const ended = Deferred.makeUnsafe<End>()
  const channels = new Set<SessionChannel>()
  let account: Account | undefined

  const end = (reason: End) => {
    if (Deferred.isDoneUnsafe(ended)) return
    // First of all: sessions that are interrupted ask how their client has gone.
    for (const channel of channels) channel.lose(`the connection has ended: ${reason}`, departureOf(reason))
    Deferred.doneUnsafe(ended, Effect.succeed(reason))
  }

  /** Until a key is accepted and its possession proven, or there have been too many attempts. */
  const authenticate = Effect.gen(function* () {
    // Whether a key would do may be asked once for each attempt, and so that nobody asks for ever.
    for (let rejected = 0, asked = 0; rejected < limits.attemptsMax && asked < 2 * limits.attemptsMax;) {
      const event = yield* Queue.take(events)
      if (event._tag !== "KeyOffered") continue
      asked++
      const found = yield* judge(event)
      if (found === null) {
        rejected++
        event.reject()
        continue
      }
      if (event.proof !== null) account = found
      event.accept()
      if (event.proof !== null) {
        yield* Effect.logInfo("connected", { account: found.name, key: fingerprintOf(event) })
        return found
      }
    }
    end("refused")
    return yield* Effect.never
  }).pipe(
    Effect.timeoutOrElse({
      duration: limits.handshakeTime,
      orElse: () =>
        Effect.andThen(
          Effect.sync(() => end("expired")),
          Effect.never
        )
    })
  )

  const serve = Effect.fnUntraced(function* <R>(handler: Handler<R>, admitted: () => void) {
    const refusal = yield* Effect.flatMap(Authentication, ({ admit }) => Effect.flatMap(authenticate, admit))
    admitted()
    if (refusal !== null) return yield* turnAway(refusal)
    const sessions = yield* FiberSet.make<void>()
    return yield* Queue.take(events).pipe(
      Effect.flatMap((event) =>
        event._tag === "SessionOpened"
          ? FiberSet.run(
              sessions,
              runSession(event, handler, () => channels.delete(event.channel))
            )
          : Effect.void
      ),
      Effect.forever,
      Effect.annotateLogs({ account: account?.name })
    )
  }, Effect.scoped)

  /** SSH has no word for it, so the first command is answered by it; who executes none is not waited for. */
  const turnAway = Effect.fnUntraced(function* (refusal: string) {
    const event = yield* Effect.timeoutOption(Queue.take(events), limits.handshakeTime)
    if (Option.isSome(event) && event.value._tag === "SessionOpened") {
      const { channel } = event.value
      yield* Effect.ignore(channel.writeError(line(refusal)))
      channel.finish(refusedStatus)
      // A client that finds our farewell in the same breath says that alone, and not what it was told.
      yield* Effect.timeoutOption(wire.gone, lingerTime)
    }
    end("refused")
    return yield* Effect.never
  })

  return {
    tell: (event) => {
      if (event._tag === "SessionOpened") {
        channels.add(event.channel)
        if (Deferred.isDoneUnsafe(ended)) event.channel.lose("the connection has ended")
      }
      Queue.offerUnsafe(events, event)
    },
    account: () => account,
    sessions: () => channels.size,
    wake: () => {
      for (const channel of channels) channel.wake()
    },
    end,
    run: (handler, admitted) =>
      serve(handler, admitted).pipe(
        Effect.raceFirst(Deferred.await(ended)),
        Effect.tap((reason) => (reason === "left" || reason === "silent" ? Effect.void : partWith(wire))),
        // Also when interrupted, at the server's end: sessions that still run are told by their fibers.
        Effect.ensuring(
          Effect.sync(() => {
            end("left")
            wire.end()
            wire.destroy()
          })
        )
      )
  }
})

/** The account of the key, when everything shown so far speaks for it. */
const judge = Effect.fnUntraced(function* ({ proof, publicKey }: KeyOffered) {
  if (publicKey === null || !isEd25519(publicKey)) return null
  if (proof !== null && !isSignedBy(publicKey, proof.signed, proof.signature)) return null
  const authentication = yield* Authentication
  return yield* authentication.findByKey(publicKey).pipe(
    // Accounts that cannot be looked up admit nobody; the client may try again.
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.as(Effect.logError("cannot look up a key", cause), null)
    )
  )
})

const fingerprintOf = ({ publicKey }: KeyOffered) => (publicKey === null ? null : fingerprint(publicKey))

const partWith = (wire: Wire) => Effect.andThen(Effect.sync(wire.end), Effect.timeoutOption(wire.gone, lingerTime))

const line = (text: string) => new TextEncoder().encode(`drover: ${text}\n`)

/** One session from its command to its exit status. Whatever happens in it, it is the end of this session only. */
const runSession = Effect.fnUntraced(
  function* <R>({ channel, command }: SessionOpened, handler: Handler<R>, _forget: () => void) {
    const answer = Result.isFailure(command)
      ? Effect.as(Effect.ignore(channel.writeError(line(command.failure.message))), refusedStatus)
      : Effect.scoped(handler(command.success, channel)).pipe(Metrics.counted(Metrics.activeSessions))
    const exit = yield* Effect.exit(answer)
    if (Exit.isSuccess(exit)) return channel.finish(exit.value)
    if (Cause.hasInterruptsOnly(exit.cause)) return
    const id = crypto.randomUUID()
    yield* Effect.logError("session died", exit.cause).pipe(Effect.annotateLogs({ id }))
    yield* Effect.ignore(channel.writeError(line(`internal error ${id}`)))
    channel.finish(1)
  },
  (session, { channel }, _handler, forget) =>
    Effect.raceFirst(session, channel.lost).pipe(Effect.ensuring(Effect.sync(forget)))
)
