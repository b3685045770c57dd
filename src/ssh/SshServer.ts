/**
 * The SSH door: listens, and turns what ssh2 tells into connections and sessions. The only importer of ssh2.
 *
 * Sockets are accepted here and handed to ssh2, so that limits hold before a byte is parsed. Only what is
 * named here is offered: one host key, one method of authentication, ciphers that the processor has
 * instructions for, no compression. Of a session's requests only `env` and `exec` are granted.
 *
 * A hostile peer must not end the process. ssh2 throws and emits errors in many places: each emitter has
 * a listener from the moment it exists, and each call into ssh2 that may meet a socket that has ended is guarded.
 *
 * @see RFC 4253, RFC 4254
 */
import { Context, Duration, Effect, FiberSet, Layer, Metric, Queue, Result, Schema, type Scope } from "effect"
import * as net from "node:net"
import ssh2 from "ssh2"
import * as Attributes from "../telemetry/Attributes.ts"
import * as Metrics from "../telemetry/Metrics.ts"
import * as Admission from "./Admission.ts"
import type { Authentication } from "./Authentication.ts"
import * as Command from "./Command.ts"
import * as Connection from "./Connection.ts"
import * as Environment from "./Environment.ts"
import { defaultLimits, type Limits } from "./Limits.ts"
import * as SessionChannel from "./SessionChannel.ts"

export interface SshServerOptions<R> {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** The host's Ed25519 private key, as ssh-keygen writes it. */
  readonly hostKey: string
  readonly handler: Connection.Handler<R>
  readonly limits?: Partial<Limits>
}

export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  address: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `cannot listen for SSH on ${this.address}`
  }
}

export class SshServer extends Context.Service<
  SshServer,
  {
    readonly host: string
    /** The one that was taken, if any free one was asked for. */
    readonly port: number
  }
>()("drover/ssh/SshServer") {
  static readonly layer = <R>(options: SshServerOptions<R>) => Layer.effect(SshServer, make(options))
}

/**
 * AES-GCM alone, which every OpenSSH since 6.2 has. The client's order decides, and OpenSSH's own begins with
 * ChaCha20 and AES-CTR, which cost this process several times as much.
 */
const ciphers: ssh2.CipherAlgorithm[] = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]

const exchanges: ssh2.KexAlgorithm[] = ["curve25519-sha256", "curve25519-sha256@libssh.org"]

/** Known only to an ssh2 that was patched for it, and newer than its types. */
const postQuantum = "mlkem768x25519-sha256" as ssh2.KexAlgorithm

/** What the system says of a peer that it has heard nothing of: the network is gone, not the one behind it. */
const silences = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN"])

/** A peer that does not take its answers is not asked for more questions while this much waits for it. */
const unsentMax = 16 * 1024 * 1024

const make = Effect.fnUntraced(function* <R>(
  options: SshServerOptions<R>
): Effect.fn.Return<SshServer["Service"], ListenError, Authentication | Exclude<R, Scope.Scope> | Scope.Scope> {
  const limits = { ...defaultLimits, ...options.limits }
  const admission = Admission.make({
    totalMax: limits.unauthenticatedMax,
    perNetworkMax: limits.unauthenticatedPerNetworkMax
  })
  // Released last: those that nobody has taken up when the door closes are ended here.
  const sockets = yield* Effect.acquireRelease(
    Effect.sync(() => new Set<net.Socket>()),
    (sockets) => Effect.sync(() => sockets.forEach((socket) => socket.destroy()))
  )
  // ssh2 says only from where a client came; this finds what was made of its socket.
  const handshaking = new Map<string, (client: ssh2.Connection) => void>()
  const ssh = yield* makeSsh2(options, limits, (client, { ip, port }) => handshaking.get(`${ip} ${port}`)?.(client))

  /** Everything that happens on one socket. */
  const serve = Effect.fnUntraced(function* (socket: net.Socket, peer: string, admitted: () => void) {
    const wire = wireOf(socket)
    const connection = yield* Connection.make(wire, limits)
    socket.on("drain", connection.wake)
    // Ahead of ssh2, for which every error of the socket is the peer's leaving.
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (silences.has(error.code ?? "")) connection.end("silent")
    })
    socket.once("close", () => {
      handshaking.delete(peer)
      connection.end("left")
    })
    handshaking.set(peer, (client) => {
      wire.client = client
      attach(client, socket, connection, limits.channelsMax)
    })
    // It may have gone before anyone listened.
    if (socket.destroyed) return
    ssh.injectSocket(socket)
    const end = yield* connection.run(options.handler, admitted).pipe(Metrics.counted(Metrics.activeConnections))
    yield* Metric.update(Metrics.of(Metrics.endedConnections, { [Attributes.connectionEnd]: end }), 1)
    // Those who never got in come in any number.
    yield* connection.account() === undefined
      ? Effect.logDebug(`ended: ${end}`)
      : Effect.logInfo(`disconnected: ${end}`)
  })

  const accepted = yield* Queue.unbounded<Effect.Effect<void, never, Authentication | Exclude<R, Scope.Scope>>>()
  const connections = yield* FiberSet.make<void>()
  yield* Queue.take(accepted).pipe(
    Effect.flatMap((connection) => FiberSet.run(connections, connection)),
    Effect.forever,
    Effect.forkScoped
  )
  const server = yield* listen(options, (socket) => {
    // First of all: an error nobody listens to ends the process. It is always followed by `close`.
    socket.on("error", () => {})
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
    const { remoteAddress, remotePort } = socket
    if (remoteAddress === undefined) return void socket.destroy()
    const peer = `${remoteAddress} ${remotePort}`
    const leave = admission.enter(remoteAddress, () => socket.destroy())
    socket.once("close", leave)
    Queue.offerUnsafe(accepted, Effect.annotateLogs(serve(socket, peer, leave), { peer }))
  })
  // A TCP server that listens has an address of this kind.
  const { address, port } = server.address() as net.AddressInfo
  return { host: address, port }
})

/** A server of ssh2 that never listens: sockets are given to it. */
const makeSsh2 = (
  { hostKey }: { readonly hostKey: string },
  limits: Limits,
  onConnection: (client: ssh2.Connection, info: ssh2.ClientInfo) => void
) =>
  Effect.sync(() => {
    const withExchanges = (kex: ssh2.KexAlgorithm[]) =>
      new ssh2.Server(
        {
          hostKeys: [hostKey],
          ident: "drover",
          algorithms: {
            kex,
            cipher: ciphers,
            compress: ["none"]
          },
          keepaliveInterval: Duration.toMillis(limits.keepaliveInterval),
          keepaliveCountMax: limits.keepaliveMax
        },
        onConnection
      )
    try {
      return withExchanges([postQuantum, ...exchanges])
    } catch {
      return withExchanges(exchanges)
    }
  })

const listen = (
  { host, port }: { readonly host: string; readonly port: number },
  onSocket: (socket: net.Socket) => void
) =>
  Effect.acquireRelease(
    Effect.callback<net.Server, ListenError>((resume) => {
      const server = net.createServer({ noDelay: true }, onSocket)
      server.once("error", (cause) => resume(Effect.fail(new ListenError({ address: `${host}:${port}`, cause }))))
      server.listen({ host, port, backlog: 1024 }, () => {
        // From now on errors are of single sockets that could not be accepted: out of descriptors, say.
        server.removeAllListeners("error").on("error", () => {})
        resume(Effect.succeed(server))
      })
    }),
    // Sockets that are open are ended by the fibers that have them.
    (server) => Effect.sync(() => server.close())
  )

interface SocketWire extends Connection.Wire {
  /** Known once the peer has sent its first line. */
  client: ssh2.Connection | undefined
}

const wireOf = (socket: net.Socket): SocketWire => {
  const wire: SocketWire = {
    client: undefined,
    end: () => {
      guarded(() => wire.client?.end())
      socket.end()
    },
    destroy: () => socket.destroy(),
    gone: Effect.callback((resume) => {
      if (socket.closed) return resume(Effect.void)
      socket.once("close", () => resume(Effect.void))
    })
  }
  return wire
}

/** Listens to a client of ssh2, which has sent its first line. Called before anything else of it is parsed. */
const attach = (
  client: ssh2.Connection,
  socket: net.Socket,
  connection: Connection.Connection,
  channelsMax: number
) => {
  client.on("error", (error: Error & { readonly level?: string }) => {
    if (error.level === "client-timeout") connection.end("silent")
    else if (error.level === "socket") connection.end("left")
    else connection.end("broken")
  })
  client.on("end", () => connection.end("left"))
  client.on("rekey", connection.wake)
  client.on("authentication", (context) => offer(context, connection))
  // Forwarding of ports. Without a listener ssh2 would leave the question unanswered.
  client.on("request", (_accept: unknown, reject: (() => void) | undefined) => reject?.())

  const transport = transportOf(client, socket)
  let channels = 0
  client.on("session", (accept, reject) => {
    const account = connection.account()
    // Closing a channel does not yet end what it had running.
    if (account === undefined || Math.max(channels, connection.sessions()) >= channelsMax) return reject()
    const session = accept()
    channels++
    session.once("close", () => channels--)
    openSession(session, (raw, command, environment) => {
      const channel = SessionChannel.make(raw, transport, { account, environment })
      connection.tell({ _tag: "SessionOpened", command, channel })
      return channel
    })
  })

  socket.on("data", () => {
    // Questions are small and answers to them are not held back by any window.
    if (socket.writableLength > unsentMax) {
      socket.pause()
      socket.once("drain", () => socket.resume())
    }
  })
}

const offer = (context: ssh2.AuthContext, connection: Connection.Connection) => {
  const key = context.method === "publickey" ? context : undefined
  connection.tell({
    _tag: "KeyOffered",
    publicKey: key?.key.data ?? null,
    proof: key?.signature && key.blob ? { signed: key.blob, signature: key.signature } : null,
    accept: () => guarded(() => context.accept()),
    // The list is what OpenSSH prints after "Permission denied".
    reject: () => guarded(() => context.reject(["publickey"]))
  })
}

/** Grants `env` and `exec`. Whatever else a session asks for is refused: by ssh2, for want of a listener. */
const openSession = (
  session: ssh2.Session,
  onCommand: (
    raw: SessionChannel.RawChannel,
    command: Result.Result<Command.Command, Command.CommandRefused>,
    environment: ReadonlyMap<string, string>
  ) => SessionChannel.SessionChannel
) => {
  const environment = Environment.make()
  session.on("env", (accept: Answer, reject: Answer, { key, val }: { readonly key: string; readonly val: string }) => {
    const answer = environment.add(key, val) ? accept : reject
    answer?.()
  })

  const start = (accept: () => ssh2.ServerChannel | undefined, command: ReturnType<typeof Command.parse>) => {
    // A second command on the same channel gets no channel.
    const stream = accept()
    if (stream === undefined) return
    stream.on("error", () => {})
    stream.stderr.on("error", () => {})
    // The fields that ssh2's types leave out are there in the pinned version; the door's tests use them all.
    const raw = stream as unknown as SessionChannel.RawChannel
    if (raw.outgoing.packetSize < SessionChannel.packetMin) return raw.close()
    const channel = onCommand(raw, command, environment.variables)
    session.once("close", () => channel.lose("the client has closed the channel"))
  }
  session.on("exec", (accept, _reject, { command }) => start(accept, Command.parse(command)))
  session.on("shell", (accept) => start(accept, Result.fail(Command.refuse("no command"))))
}

/** Absent when the client wants no answer. */
type Answer = (() => void) | undefined

const transportOf = (client: ssh2.Connection, socket: net.Socket): SessionChannel.Transport => {
  // ssh2 says when keys have been exchanged, but not that it has begun. This field of its pinned version does.
  const { _protocol: protocol } = client as unknown as { readonly _protocol: { readonly _kexinit?: unknown } }
  return {
    unsent: () => socket.writableLength,
    isRekeying: () => protocol._kexinit !== undefined,
    corked: (write) => {
      socket.cork()
      try {
        return write()
      } finally {
        socket.uncork()
      }
    }
  }
}

/** Calls into ssh2 for a socket that may have ended meanwhile, in which case there is nobody to tell. */
const guarded = (call: () => void) => {
  try {
    call()
  } catch {
    // Its `close` comes, or has come.
  }
}
