/**
 * Whether this process lives and whether it can serve, for whoever watches it.
 *
 *     GET /healthz    200 as soon as it listens: the event loop turns
 *     GET /readyz     200 when all that serving needs is there, else 503
 *
 * Everything else is 404. Nothing is read of a request but its first line and its headers, within bounds of size
 * and time, so that this port may be as open to hostile peers as the other.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Context, type Duration, Effect, Layer } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import * as http from "node:http"
import type * as net from "node:net"

export interface HealthOptions<R> {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** Asked at each request. Too late an answer counts as no. */
  readonly ready: Effect.Effect<boolean, never, R>
}

export class Health extends Context.Service<
  Health,
  {
    readonly host: string
    /** The one that was taken, if any free one was asked for. */
    readonly port: number
  }
>()("drover/http/Health") {
  static readonly layer = <R>(options: HealthOptions<R>) => Layer.effect(Health, make(options))
}

/** A watcher that waits longer than this has its own opinion already. */
const readyTime: Duration.Input = "5 seconds"

/** Sockets open at a time: each costs a descriptor that the SSH door may need. */
const connectionsMax = 256

const limits: http.ServerOptions = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000
}

const make = Effect.fnUntraced(function* <R>({ host, port, ready }: HealthOptions<R>) {
  const server = http.createServer(limits)
  server.maxConnections = connectionsMax
  // One socket that cannot be accepted is no reason to end; one that nobody listens to would be.
  server.on("error", () => {})
  const { serve } = yield* NodeHttpServer.make(() => server, {
    host,
    port,
    gracefulShutdownTimeout: "1 second"
  })
  // Runs between no longer serving and waiting for all connections to be gone, which a peer could otherwise delay.
  yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
  yield* serve(answer(ready))
  // A TCP server that listens has an address of this kind.
  const bound = server.address() as net.AddressInfo
  return Health.of({ host: bound.address, port: bound.port })
})

const answer = <R>(ready: Effect.Effect<boolean, never, R>) =>
  Effect.gen(function* () {
    const { method, url } = yield* HttpServerRequest.HttpServerRequest
    if (method !== "GET" && method !== "HEAD") return say(404, "not found")
    switch (url.split("?")[0]) {
      case "/healthz":
        return say(200, "ok")
      case "/readyz":
        return (yield* inTime(ready)) ? say(200, "ready") : say(503, "not ready")
      default:
        return say(404, "not found")
    }
  })

const inTime = <R>(ready: Effect.Effect<boolean, never, R>) =>
  Effect.timeoutOrElse(ready, { duration: readyTime, orElse: () => Effect.succeed(false) })

const say = (status: number, text: string) =>
  HttpServerResponse.text(`${text}\n`, { status, headers: { "cache-control": "no-store" } })
