/**
 * Whether this process lives and whether it can serve, for whoever watches it.
 *
 *     GET /healthz    200 as soon as it listens: the event loop turns
 *     GET /readyz     200 when all that serving needs is there, else 503
 *     GET /metrics    every metric as Prometheus reads it, to whom the operator lets have it
 *
 * Everything else is 404, and so are the metrics to others. Nothing is read of a request but its first line and its
 * headers, within bounds of size and time, so that this port may be as open to hostile peers as the other.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Context, type Duration, Effect, Layer, Option } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import * as http from "node:http"
import type * as net from "node:net"
import * as IpPrefix from "../domain/IpPrefix.ts"
import * as Prometheus from "../telemetry/Prometheus.ts"

export interface HealthOptions<R> {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** Asked at each request. Too late an answer counts as no. */
  readonly ready: Effect.Effect<boolean, never, R>
  /** Who may read the metrics, by where they come from. */
  readonly metricsAllow: ReadonlyArray<IpPrefix.IpPrefix>
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

const make = Effect.fnUntraced(function* <R>({ host, metricsAllow, port, ready }: HealthOptions<R>) {
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
  yield* serve(answer(ready, metricsAllow))
  // A TCP server that listens has an address of this kind.
  const bound = server.address() as net.AddressInfo
  return Health.of({ host: bound.address, port: bound.port })
})

const answer = <R>(ready: Effect.Effect<boolean, never, R>, metricsAllow: ReadonlyArray<IpPrefix.IpPrefix>) =>
  Effect.gen(function* () {
    const { method, remoteAddress, url } = yield* HttpServerRequest.HttpServerRequest
    if (method !== "GET" && method !== "HEAD") return say(404, "not found")
    switch (url.split("?")[0]) {
      case "/healthz":
        return say(200, "ok")
      case "/readyz":
        return (yield* inTime(ready)) ? say(200, "ready") : say(503, "not ready")
      case "/metrics":
        return isWithin(
          metricsAllow,
          Option.getOrElse(remoteAddress, () => "")
        )
          ? HttpServerResponse.text(yield* Prometheus.format, { contentType: Prometheus.contentType, headers })
          : say(404, "not found")
      default:
        return say(404, "not found")
    }
  })

const inTime = <R>(ready: Effect.Effect<boolean, never, R>) =>
  Effect.timeoutOrElse(ready, { duration: readyTime, orElse: () => Effect.succeed(false) })

/** A socket for both versions of the protocol tells an address of version 4 as one of version 6. */
const isWithin = (allowed: ReadonlyArray<IpPrefix.IpPrefix>, address: string): boolean => {
  const from = IpPrefix.parseAddress(address.replace(/^::ffff:(?=[0-9.]+$)/i, ""))
  return from !== null && allowed.some((prefix) => IpPrefix.holds(prefix, from))
}

const headers = { "cache-control": "no-store" }

const say = (status: number, text: string) => HttpServerResponse.text(`${text}\n`, { status, headers })
