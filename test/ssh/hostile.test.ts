/**
 * Peers that break the rules of SSH harm nobody but themselves. Each test ends with an honest client.
 *
 * An error that nobody listens to would end this process, which the test runner reports as such.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as net from "node:net"
import type ssh2 from "ssh2"
import { exec, login, protocolOf, send } from "../support/ssh2Client.ts"
import * as Door from "../support/sshDoor.ts"

const worker = "nix-daemon --stdio"

const gone = (client: ssh2.Client) =>
  Effect.callback<void>((resume) => void client.on("close", () => resume(Effect.void)))

const connect = (port: number, onConnect: (socket: net.Socket) => void) =>
  Effect.callback<void>((resume) => {
    const socket = net.connect({ host: "127.0.0.1", port }, () => onConnect(socket))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
    socket.resume()
    return Effect.sync(() => socket.destroy())
  })

const servesOthers = Effect.fnUntraced(function* (door: Door.Door) {
  assert.strictEqual((yield* Door.run([...door.ssh("status 9"), worker])).status, 9)
})

/** The same numbers every time: a run that found something can be run again. */
const randomly = (seed: number) => () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}

const bytesOf = (random: () => number, count: number) =>
  Buffer.from(Array.from({ length: count }, () => random() * 256))

describe("the SSH door outlives", () => {
  it.live("garbage, and lines that look like SSH before it", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const random = randomly(1)
      const lines = [
        "",
        "SSH-2.0-x\r\n",
        "SSH-2.0-x\n",
        "SSH-1.5-x\r\n",
        "SSH-",
        "GET / HTTP/1.1\r\n\r\n",
        "SSH-2.0-x\r\n\0\0\0\x0c\x0a\x14"
      ]

      const texts = lines.flatMap((line) => [0, 1, 100, 70_000].map((count) => [line, bytesOf(random, count)] as const))
      yield* Effect.forEach(
        texts,
        ([line, bytes]) => connect(door.port, (socket) => socket.end(Buffer.concat([Buffer.from(line), bytes]))),
        { concurrency: "unbounded" }
      )

      yield* servesOthers(door)
    })
  )

  it.live("key exchanges with bytes changed on their way", () =>
    Effect.gen(function* () {
      // A length changed after the key exchange leaves both ends waiting for the rest: the keep-alive ends that.
      const door = yield* Door.open({ handshakeTime: "2 seconds", keepaliveInterval: "500 millis", keepaliveMax: 2 })
      const random = randomly(2)
      const relay = yield* Effect.acquireRelease(
        Effect.callback<net.Server>((resume) => {
          const server = net.createServer((near) => {
            const far = net.connect({ host: "127.0.0.1", port: door.port })
            const at = 20 + Math.floor(random() * 3_000)
            let passed = 0
            near.on("data", (bytes) => {
              // One byte somewhere after the first line: in a list of algorithms, a length, a key, a signature.
              if (at >= passed && at < passed + bytes.length) bytes[at - passed]! ^= 1 << Math.floor(random() * 8)
              passed += bytes.length
              far.write(bytes)
            })
            far.on("data", (bytes) => near.write(bytes))
            for (const [one, other] of [
              [near, far],
              [far, near]
            ] as const) {
              one.on("error", () => {})
              one.on("close", () => other.destroy())
            }
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = relay.address() as net.AddressInfo

      const through = (index: number) =>
        Door.run([
          ...door.ssh(
            "echo",
            "-p",
            `${port}`,
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            `UserKnownHostsFile=${door.file(`known-${index}`)}`
          ),
          worker
        ])
      yield* Effect.forEach(
        Array.from({ length: 24 }, (_, index) => index),
        through,
        { concurrency: 10 }
      )

      yield* servesOthers(door)
    })
  )

  it.live(
    "messages of any kind with anything in them, from who has been let in",
    () =>
      Effect.gen(function* () {
        const door = yield* Door.open()
        const random = randomly(3)
        const text = (value: string) => Buffer.concat([Buffer.from([0, 0, 0, value.length]), Buffer.from(value)])
        const names = [
          "exec",
          "env",
          "shell",
          "subsystem",
          "pty-req",
          "signal",
          "x11-req",
          "window-change",
          "exit-status",
          "session",
          "direct-tcpip",
          "tcpip-forward",
          "streamlocal-forward@openssh.com",
          "no-more-sessions@openssh.com",
          "publickey",
          "ssh-userauth"
        ]
        const number = () => Buffer.from([0, 0, 0, Math.floor(random() * 4)])
        const pick = <A>(of: ReadonlyArray<A>) => of[Math.floor(random() * of.length)]!
        const part = () =>
          pick([
            number,
            number,
            () => text(pick(names)),
            () => Buffer.from([random() * 2]),
            () => bytesOf(random, random() * 20),
            () => Buffer.alloc(4, 255)
          ])()
        const message = () =>
          Buffer.concat([
            Buffer.from([pick([2, 4, 5, 20, 30, 50, 80, 90, 91, 93, 94, 95, 96, 97, 98, 98, 98, 99, 192])]),
            ...Array.from({ length: random() * 6 }, part)
          ])

        for (let round = 0; round < 30; round++) {
          const client = yield* login(door)
          yield* exec(client, "echo")
          for (let index = 0; index < 40; index++) {
            try {
              send(client, message())
            } catch {
              // Sent away already.
            }
          }
          client.end()
        }

        yield* servesOthers(door)
      }),
    120_000
  )

  it.live("a client that sends past its window, and sends it away", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const client = yield* login(door)
      yield* exec(client, "stall")
      yield* door.until("stalled")

      const protocol = protocolOf(client)
      for (let index = 0; index < 100; index++) protocol.channelData(0, Buffer.alloc(32_000))

      yield* gone(client)
      yield* door.until("disconnected: broken")
      yield* servesOthers(door)
    })
  )

  it.live("a client that takes nothing at once, for which no packet is small enough", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const client = yield* login(door)
      const protocol = protocolOf(client)
      const open = protocol.session.bind(protocol)
      protocol.session = (channel, window) => open(channel, window, 0)

      const channel = yield* exec(client, "give 1000")
      let count = 0
      channel.on("data", (bytes: Buffer) => (count += bytes.length))
      yield* Effect.callback((resume) => void channel.on("close", () => resume(Effect.void)))

      assert.strictEqual(count, 0)
      yield* servesOthers(door)
    })
  )

  it.live("a client with a boundless window that never reads its socket", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const client = yield* login(door)
      const protocol = protocolOf(client)
      const open = protocol.session.bind(protocol)
      protocol.session = (channel, _window, size) => open(channel, 2 ** 32 - 1, size)
      yield* exec(client, "give 1000000000")

      ;(client as unknown as { readonly _sock: net.Socket })._sock.pause()
      for (let round = 0; round < 2; round++)
        yield* Door.run([...door.ssh("echo"), worker], Door.pattern(10_000_000, 3))

      assert.isBelow(door.given(), 64 * 2 ** 20)
    })
  )

  it.live("a client that begins to exchange keys and does not go on", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const client = yield* login(door)
      const protocol = protocolOf(client)
      const open = protocol.session.bind(protocol)
      protocol.session = (channel, _window, size) => open(channel, 2 ** 32 - 1, size)
      yield* exec(client, "give 400000000")
      const given = door.given()

      // ssh2's client would go on by itself, so it is made to take no notice of the answer.
      protocol.parse = () => {}
      const lists = [
        "curve25519-sha256",
        "ssh-ed25519",
        "aes128-gcm@openssh.com",
        "aes128-gcm@openssh.com",
        "",
        "",
        "none",
        "none",
        "",
        ""
      ]
      const list = (value: string) => Buffer.concat([Buffer.from([0, 0, 0, value.length]), Buffer.from(value)])
      send(client, Buffer.concat([Buffer.from([20]), Buffer.alloc(16), ...lists.map(list), Buffer.alloc(5)]))
      for (let round = 0; round < 2; round++)
        yield* Door.run([...door.ssh("echo"), worker], Door.pattern(10_000_000, 3))

      assert.isBelow(door.given() - given, 64 * 2 ** 20)
    })
  )
})
