import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Metric, Scope } from "effect"
import * as net from "node:net"
import * as IpPrefix from "../../src/domain/IpPrefix.ts"
import { Health } from "../../src/http/Health.ts"
import * as Metrics from "../../src/telemetry/Metrics.ts"

const open = (ready: Effect.Effect<boolean>, metricsAllow = "none", host = "127.0.0.1") =>
  Effect.map(
    Layer.build(Health.layer({ host, port: 0, ready, metricsAllow: IpPrefix.parseList(metricsAllow) ?? [] })),
    (context) => Context.get(context, Health)
  )

const ask = (port: number, path: string, init?: RequestInit) =>
  Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init)
    return `${response.status} ${await response.text()}`
  })

/** Sends bytes as they are, and gives what comes back until the other side closes. */
const talk = (port: number, text: string) =>
  Effect.callback<string>((resume) => {
    let answer = ""
    const socket = net.connect({ host: "127.0.0.1", port }, () => socket.write(text))
    socket.setEncoding("utf8").on("data", (part: string) => (answer += part))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(answer)))
    return Effect.sync(() => socket.destroy())
  })

describe("health", () => {
  it.live("says that it lives before it is ready, and when it is", () =>
    Effect.gen(function* () {
      let isReady = false
      const { port } = yield* open(Effect.sync(() => isReady))

      assert.strictEqual(yield* ask(port, "/healthz"), "200 ok\n")
      assert.strictEqual(yield* ask(port, "/readyz"), "503 not ready\n")
      isReady = true
      assert.strictEqual(yield* ask(port, "/readyz?verbose"), "200 ready\n")
    })
  )

  it.live("shows its metrics to whom the operator lets see them, and to others not that there are any", () =>
    Effect.gen(function* () {
      yield* Metric.update(Metrics.storedNars, 3)
      const lets = Effect.fnUntraced(function* (metricsAllow: string, host?: string) {
        const { port } = yield* open(Effect.succeed(true), metricsAllow, host)
        const answer = yield* ask(port, "/metrics")
        return answer !== "404 not found\n" && answer.split("\n").includes("drover_store_nars 3")
      })

      assert.isTrue(yield* lets("127.0.0.0/8,::1"))
      assert.isTrue(yield* lets("127.0.0.1", "::"))
      assert.isFalse(yield* lets("none"))
      assert.isFalse(yield* lets("10.0.0.0/8,::/0"))
      assert.isFalse(yield* lets("10.0.0.0/8", "::"))
    })
  )

  it.live("has nothing else", () =>
    Effect.gen(function* () {
      const { port } = yield* open(Effect.succeed(true))

      for (const path of ["/", "/healthz/", "/metrics", "//healthz"]) {
        assert.strictEqual(yield* ask(port, path), "404 not found\n")
      }
      assert.strictEqual(
        yield* ask(port, "/healthz", { method: "POST", body: "x".repeat(1_000_000) }),
        "404 not found\n"
      )
    })
  )

  it.live("outlives those who talk nonsense", () =>
    Effect.gen(function* () {
      const { port } = yield* open(Effect.succeed(true))

      assert.match(yield* talk(port, `GET /healthz HTTP/1.1\r\nx: ${"y".repeat(10_000)}\r\n\r\n`), /^HTTP\/1.1 431 /)
      assert.match(yield* talk(port, "SSH-2.0-x\r\n\r\n"), /^HTTP\/1.1 400 /)
      const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
      yield* Effect.timeoutOption(talk(port, `GET /healthz HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`), "100 millis")
      assert.strictEqual(yield* ask(port, "/healthz"), "200 ok\n")
    })
  )

  it.live("ends although a request has not", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { port } = yield* Scope.provide(open(Effect.succeed(true)), scope)
      const unfinished = yield* Effect.forkChild(talk(port, "GET /healthz HTTP/1.1\r\n"), { startImmediately: true })
      yield* ask(port, "/healthz")

      yield* Scope.close(scope, Exit.void)

      assert.strictEqual(yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`).catch(() => "gone")), "gone")
      unfinished.interruptUnsafe()
    })
  )
})
