import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as net from "node:net"
import { exec, login } from "../support/ssh2Client.ts"
import * as Door from "../support/sshDoor.ts"

const worker = "nix-daemon --stdio"
const said = ({ err, out, status }: Door.Ended) => ({ status, out: `${out}`, err: `${err}` })

/** A connection that says something and then waits. */
const openSocket = (port: number, text = "") =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const socket = net.connect({ host: "127.0.0.1", port }, () => {
        socket.write(text)
        resume(Effect.succeed(socket))
      })
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const closed = (socket: net.Socket) =>
  Effect.callback<void>((resume) => {
    socket.resume().once("close", () => resume(Effect.void))
    if (socket.destroyed) resume(Effect.void)
  })

describe("the SSH door", () => {
  it.live("answers OpenSSH, both ways, to the last byte, and through exchanges of keys", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const input = Door.pattern(3_000_000, 13)

      for (const options of [[], ["-o", "RekeyLimit=500K"], ["-c", "aes256-gcm@openssh.com"]]) {
        const ended = yield* Door.run([...door.ssh("echo", ...options), worker], input)
        assert.deepStrictEqual({ status: ended.status, err: `${ended.err}` }, { status: 0, err: "" })
        assert.isTrue(ended.out.equals(input))
      }
    })
  )

  it.live("keeps stdout and stderr apart and whole when both have to wait", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      for (const options of [[], ["-o", "RekeyLimit=500K"]]) {
        const ended = yield* Door.run([...door.ssh("both 6000000", ...options), worker])
        assert.strictEqual(ended.status, 0)
        assert.isTrue(ended.out.equals(Door.pattern(6_000_000, 7)))
        assert.isTrue(ended.err.equals(Door.pattern(6_000_000, 11)))
      }
    })
  )

  it.live("goes on answering when the client has said all it has to say", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      const ended = yield* Door.run([...door.ssh("take"), worker], Door.pattern(3_000_000, 1))

      assert.deepStrictEqual(said(ended), { status: 0, out: "3000000\n", err: "" })
    })
  )

  it.live("tells the exit status", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      for (const status of [0, 1, 42, 254]) {
        const ended = yield* Door.run([...door.ssh(`status ${status}`), worker])
        assert.deepStrictEqual(said(ended), { status, out: "", err: "" })
      }
    })
  )

  it.live("keeps what the client sets in its environment", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const options = ["-o", "SetEnv=DROVER_MEMORY=11G LANG=C OTHER='a b'"]

      const ended = yield* Door.run([...door.ssh("environment", ...options), "nix-store --serve"])

      assert.deepStrictEqual(
        new Map(JSON.parse(`${ended.out}`)),
        new Map([
          ["DROVER_MEMORY", "11G"],
          ["LANG", "C"],
          ["OTHER", "a b"]
        ])
      )
    })
  )

  it.live("refuses any other command with one line and status 127", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      for (const command of ["uname -a", "nix-store --gc", "sh -c 'nix-daemon --stdio'"]) {
        const ended = yield* Door.run([...door.ssh(""), command])
        assert.strictEqual(ended.status, 127)
        assert.strictEqual(`${ended.out}`, "")
        assert.match(`${ended.err}`, /^drover: expected nix-store [^\n]*, found "[^\n]*"\n$/)
      }
      const shell = yield* Door.run(door.ssh(""))
      assert.strictEqual(shell.status, 127)
      assert.match(`${shell.err}`, /^drover: expected nix-store [^\n]*, found no command\n$/)
    })
  )

  it.live("grants neither terminals nor subsystems nor forwarding", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      const terminal = yield* Door.run([...door.ssh("status 3", "-tt"), worker])
      assert.strictEqual(terminal.status, 255)
      assert.match(`${terminal.err}`, /^PTY allocation request failed/)
      const subsystem = yield* Door.run([...door.ssh("", "-s"), "sftp"])
      assert.strictEqual(subsystem.status, 255)
      assert.match(`${subsystem.err}`, /^subsystem request failed/)
      const outward = yield* Door.run(door.ssh("", "-W", `127.0.0.1:${door.port}`))
      assert.strictEqual(outward.status, 255)
      const inward = yield* Door.run([...door.ssh("", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"), worker])
      assert.strictEqual(inward.status, 255)
      assert.match(`${inward.err}`, /remote port forwarding failed/)
    })
  )

  it.live("lets in nobody without a key that is known", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const others = ["-o", "PreferredAuthentications=none,password,keyboard-interactive", "-o", "BatchMode=no"]

      for (const command of [door.sshAsStranger(), door.ssh("", "-o", "PubkeyAuthentication=no", ...others)]) {
        const ended = yield* Door.run([...command, worker])
        assert.strictEqual(ended.status, 255)
        assert.match(`${ended.err}`, /Permission denied \(publickey\)\.\r?\n$/)
      }
    })
  )

  it.live(
    "serves a hundred connections of one client at once",
    () =>
      Effect.gen(function* () {
        const door = yield* Door.open()

        const statuses = yield* Effect.forEach(
          Array.from({ length: 100 }, (_, index) => index),
          (index) => Effect.map(Door.run([...door.ssh(`status ${index}`), worker]), ({ status }) => status),
          { concurrency: "unbounded" }
        )

        assert.deepStrictEqual(
          statuses,
          statuses.map((_, index) => index)
        )
      }),
    60_000
  )

  it.live("serves several channels of one connection, which may also have none", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      yield* Door.start(door.ssh("", "-M", "-N"))
      yield* door.until("connected")
      const input = Door.pattern(1_000_000, 17)

      const through = (what: string) => Door.run([...door.ssh(what, "-o", "ProxyCommand=false"), worker], input)
      const all = yield* Effect.all(
        [through("echo"), through("echo"), through("die"), through("take"), through("echo")],
        {
          concurrency: "unbounded"
        }
      )

      assert.deepStrictEqual(
        all.map(({ status }) => status),
        [0, 0, 1, 0, 0]
      )
      for (const index of [0, 1, 4]) assert.isTrue(all[index]?.out.equals(input))
      assert.match(`${all[2]?.err}`, /^drover: internal error [0-9a-f-]{36}\n$/)
    })
  )

  it.live("lets an account in as often as it may come at once, and tells the next one why not", () =>
    Effect.gen(function* () {
      const door = yield* Door.open({ connectionsMax: 1 })
      const first = yield* Door.start(door.ssh("", "-M", "-N"))
      yield* door.until("connected")

      const refused = yield* Door.run([...door.ssh("echo", "-S", "none"), worker])
      assert.deepStrictEqual([refused.status, `${refused.err}`], [127, "drover: expected fewer connections\n"])

      first.kill("SIGTERM")
      yield* Door.ended(first)
      yield* door.until("disconnected: left")
      assert.strictEqual((yield* Door.run([...door.ssh("status 0", "-S", "none"), worker])).status, 0)
    })
  )

  it.live("opens no more channels on a connection than it may have, and another when one is closed", () =>
    Effect.gen(function* () {
      const door = yield* Door.open({ channelsMax: 1 })
      yield* Door.start(door.ssh("", "-M", "-N"))
      yield* door.until("connected")
      const through = (what: string) => [...door.ssh(what, "-o", "ProxyCommand=false"), worker]

      const first = yield* Door.start(through("stall"))
      yield* door.until("stalled")
      assert.strictEqual((yield* Door.run(through("status 5"))).status, 255)
      first.stdin.end()
      yield* Door.ended(first)

      assert.strictEqual((yield* Door.run(through("status 5"))).status, 5)
    })
  )
})

describe("a session behind the SSH door", () => {
  it.live("learns that the client has ended its input although it does not read", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()

      const ended = yield* Door.run([...door.ssh("stall"), worker])

      yield* door.until("closed")
      assert.strictEqual(ended.status, 0)
    })
  )

  it.live("ends when its client is gone", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const client = yield* Door.start([...door.ssh("stall"), worker])
      yield* door.until("stalled")

      client.kill("SIGKILL")

      yield* door.until("interrupted")
      yield* door.until("disconnected: left")
    })
  )

  it.live("ends when its channel is closed, and no other session with it", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const client = yield* login(door)
      const channel = yield* exec(client, "hang")
      yield* door.until("hanging")

      channel.close()

      yield* door.until("interrupted")
      yield* door.until("its client: left")
      const other = yield* exec(client, "status 4")
      const status = yield* Effect.callback<number>(
        (resume) => void other.on("exit", (code) => resume(Effect.succeed(code)))
      )
      assert.strictEqual(status, 4)
    })
  )

  it.live("learns that its client is gone also through a connection that stays", () =>
    Effect.gen(function* () {
      // Of a client that was killed OpenSSH's master speaks only when it is asked for a sign of life.
      const door = yield* Door.open({ keepaliveInterval: "50 millis", keepaliveMax: 1000 })
      yield* Door.start(door.ssh("", "-M", "-N"))
      yield* door.until("connected")
      const client = yield* Door.start([...door.ssh("stall", "-o", "ProxyCommand=false"), worker])
      yield* door.until("stalled")

      client.kill("SIGKILL")

      yield* door.until("closed")
    })
  )

  it.live("ends when its client has fallen silent, which is another reason", () =>
    Effect.gen(function* () {
      const door = yield* Door.open({ keepaliveInterval: "500 millis", keepaliveMax: 3 })
      const client = yield* Door.start([...door.ssh("stall"), worker])
      yield* door.until("stalled")

      client.kill("SIGSTOP")

      yield* door.until("interrupted")
      yield* door.until("its client: silent")
      yield* door.until("disconnected: silent")
    })
  )

  it.live("ends with the door", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const door = yield* Scope.provide(Door.open(), scope)
      const client = yield* Door.start([...door.ssh("stall"), worker])
      yield* door.until("stalled")

      yield* Scope.close(scope, Exit.void)

      yield* door.until("interrupted")
      yield* door.until("its client: there")
      assert.strictEqual((yield* Door.ended(client)).status, 255)
    })
  )

  it.live(
    "waits for a client that does not read, and costs no memory meanwhile",
    () =>
      Effect.gen(function* () {
        const door = yield* Door.open()
        const before = process.memoryUsage().rss
        const client = yield* Door.start([...door.ssh("give 134217728"), worker])
        yield* Effect.callback((resume) => void client.stdout.once("readable", () => resume(Effect.void)))

        // As much work of others as would have sent all of it.
        const input = Door.pattern(10_000_000, 3)
        for (let round = 0; round < 2; round++) yield* Door.run([...door.ssh("echo"), worker], input)

        assert.isBelow(door.given(), 32 * 2 ** 20)
        assert.isBelow(process.memoryUsage().rss - before, 300 * 2 ** 20)
        let count = 0
        client.stdout.on("data", (bytes: Buffer) => (count += bytes.length))
        yield* Effect.callback((resume) => void client.on("close", () => resume(Effect.void)))
        assert.strictEqual(count, 134217728)
      }),
    120_000
  )
})

describe("strangers at the SSH door", () => {
  it.live("do not keep honest clients out by holding connections open", () =>
    Effect.gen(function* () {
      const door = yield* Door.open({ unauthenticatedPerNetworkMax: 150 })

      yield* Effect.forEach(
        Array.from({ length: 200 }, (_, index) => index),
        (index) => openSocket(door.port, index % 2 === 0 ? "" : "SSH-2.0-x\r\n")
      )

      assert.strictEqual((yield* Door.run([...door.ssh("status 7"), worker])).status, 7)
    })
  )

  it.live("have only so much time, and so many attempts", () =>
    Effect.gen(function* () {
      const hasty = yield* Door.open({ handshakeTime: "50 millis" })
      yield* closed(yield* openSocket(hasty.port))
      yield* closed(yield* openSocket(hasty.port, "SSH-2.0-x\r\n"))

      // The first attempt of OpenSSH is always the method `none`.
      const strict = yield* Door.open({ attemptsMax: 1 })
      const ended = yield* Door.run([...strict.ssh(""), worker])
      assert.strictEqual(ended.status, 255)
      assert.match(`${ended.err}`, /disconnect/i)
    })
  )
})
