/**
 * A door on a free port with a key of its own, and OpenSSH as its client.
 *
 * The session behind it does what its environment's `DO` says, so that one door serves every test:
 *
 *     echo          sends back what comes, then ends
 *     take          reads to the end, then says on stdout how much it was
 *     give N        sends N bytes
 *     both N        sends N bytes to each of stdout and stderr, by turns
 *     stall         reads nothing until the client has gone
 *     hang          neither reads nor ends
 *     status N      ends with that status
 *     environment   says what else was set
 *     die           has a defect
 */
import { Context, Deferred, Effect, Layer, Logger, type Scope } from "effect"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Channel, ChannelClosed } from "../../src/actors/session/Channel.ts"
import { Account, AccountId, AccountName } from "../../src/domain/Account.ts"
import { ViewId } from "../../src/domain/View.ts"
import { Authentication } from "../../src/ssh/Authentication.ts"
import type { Limits } from "../../src/ssh/Limits.ts"
import { SshServer } from "../../src/ssh/SshServer.ts"

const chunk = new Uint8Array(65536).fill(120)

const give = Effect.fnUntraced(function* (count: number, write: Channel["write"]) {
  for (let left = count; left > 0;) {
    const bytes = chunk.subarray(0, Math.min(left, chunk.length))
    yield* write(bytes)
    left -= bytes.length
  }
})

const take = Effect.fnUntraced(function* (
  channel: Channel,
  each: (bytes: Uint8Array) => Effect.Effect<void, ChannelClosed>
) {
  let count = 0
  while (true) {
    const bytes = yield* channel.input.peek
    if (bytes.length === 0) return count
    yield* each(bytes)
    count += bytes.length
    channel.input.advance(bytes.length)
  }
})

/** Bytes `i * step mod 251`, so that what is lost, doubled or out of order shows. */
export const pattern = (count: number, step: number, from = 0) => {
  const bytes = new Uint8Array(count)
  for (let index = 0; index < count; index++) bytes[index] = ((from + index) * step) % 251
  return bytes
}

interface Observer {
  readonly saw: (event: string) => void
  readonly gave: (count: number) => void
}

const perform = Effect.fnUntraced(
  function* (channel: Channel, observer: Observer) {
    const say = (text: string) => channel.write(new TextEncoder().encode(text))
    const [verb, argument = "0"] = (channel.environment.get("DO") ?? "echo").split(" ")
    switch (verb) {
      case "echo":
        yield* take(channel, channel.write)
        return 0
      case "take":
        yield* say(`${yield* take(channel, () => Effect.void)}\n`)
        return 0
      case "give":
        yield* give(Number(argument), (bytes) =>
          Effect.tap(
            channel.write(bytes),
            Effect.sync(() => observer.gave(bytes.length))
          )
        )
        return 0
      case "both":
        for (let sent = 0; sent < Number(argument); sent += 50_000) {
          yield* channel.write(pattern(50_000, 7, sent))
          yield* channel.writeError(pattern(50_000, 11, sent))
        }
        return 0
      case "stall":
        observer.saw("stalled")
        yield* channel.closed
        observer.saw("closed")
        return 0
      case "hang":
        observer.saw("hanging")
        return yield* Effect.never
      case "status":
        return Number(argument)
      case "environment":
        yield* say(JSON.stringify([...channel.environment].filter(([name]) => name !== "DO")))
        return 0
      case "die":
        return yield* Effect.die(new Error("as asked"))
      default:
        return 1
    }
  },
  (session, channel, observer) =>
    session.pipe(
      Effect.catch(() => Effect.succeed(1)),
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          observer.saw("interrupted")
          observer.saw(`its client: ${channel.departure() ?? "there"}`)
        })
      )
    )
)

export interface Door {
  readonly port: number
  /** Waits until a session has gone through this, or the door has logged it. */
  readonly until: (event: string) => Effect.Effect<void>
  /** Bytes that sessions were able to send. */
  readonly given: () => number
  /** A command line up to the host, and what its session is to do. */
  readonly ssh: (what: string, ...options: ReadonlyArray<string>) => Array<string>
  /** The same with a key that is not known. */
  readonly sshAsStranger: () => Array<string>
  readonly file: (name: string) => string
}

const keygen = (file: string) =>
  childProcess.execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file])

const blobOf = (file: string) => Buffer.from(fs.readFileSync(`${file}.pub`, "utf8").split(" ")[1]!, "base64")

export const open = Effect.fnUntraced(function* ({
  connectionsMax = Infinity,
  ...limits
}: Partial<Limits> & { readonly connectionsMax?: number } = {}): Effect.fn.Return<Door, never, Scope.Scope> {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "drover-ssh-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )
  const file = (name: string) => path.join(directory, name)
  for (const name of ["host", "client", "stranger"]) keygen(file(name))
  const known = blobOf(file("client"))
  const account = new Account({ id: AccountId.make("0"), name: AccountName.make("test"), view: ViewId.make("0") })
  let given = 0
  let connections = 0
  const events = new Map<string, Deferred.Deferred<void>>()
  const eventOf = (name: string) => {
    const event = events.get(name) ?? Deferred.makeUnsafe<void>()
    events.set(name, event)
    return event
  }
  const observe = (name: string) => void Deferred.doneUnsafe(eventOf(name), Effect.void)
  const observer: Observer = { saw: observe, gave: (count) => (given += count) }
  const layer = SshServer.layer({
    host: "127.0.0.1",
    port: 0,
    hostKey: fs.readFileSync(file("host"), "utf8"),
    handler: (_, channel) => perform(channel, observer),
    limits
  }).pipe(
    Layer.provide(Logger.layer([Logger.make(({ message }) => observe(`${[message].flat()[0]}`))])),
    Layer.provide(
      Layer.succeed(Authentication, {
        findByKey: (publicKey) => Effect.succeed(known.equals(publicKey) ? account : null),
        admit: () =>
          Effect.acquireRelease(
            Effect.sync(() => (++connections > connectionsMax ? "expected fewer connections" : null)),
            () => Effect.sync(() => connections--)
          )
      })
    )
  )
  const { port } = Context.get(yield* Effect.orDie(Layer.build(layer)), SshServer)
  const settings = `Host drover
  IdentityFile ${file("client")}
Host stranger
  IdentityFile ${file("stranger")}
Host *
  HostName 127.0.0.1
  Port ${port}
  IdentitiesOnly yes
  BatchMode yes
  SendEnv DO
  UserKnownHostsFile ${file("known_hosts")}
  GlobalKnownHostsFile none
  ControlPath ${file("master")}
`
  fs.writeFileSync(file("config"), settings)
  fs.writeFileSync(file("known_hosts"), `[127.0.0.1]:${port} ${fs.readFileSync(file("host.pub"), "utf8")}`)
  return {
    port,
    until: (event) => Deferred.await(eventOf(event)),
    given: () => given,
    file,
    ssh: (what, ...options) => ["env", `DO=${what}`, "ssh", "-T", "-F", file("config"), ...options, "drover"],
    sshAsStranger: () => ["ssh", "-T", "-F", file("config"), "stranger"]
  }
})

export interface Ended {
  /** Null if a signal ended it. */
  readonly status: number | null
  readonly out: Buffer
  readonly err: Buffer
}

/** Starts a command that ends with the scope at the latest. */
export const start = (argv: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = childProcess.spawn(argv[0]!, argv.slice(1), { stdio: "pipe" })
      // A command may end without having read what it was given.
      child.stdin.on("error", () => {})
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** Reads what a command says until it has ended. */
export const ended = (child: childProcess.ChildProcessWithoutNullStreams): Effect.Effect<Ended> =>
  Effect.callback((resume) => {
    const out: Array<Buffer> = []
    const err: Array<Buffer> = []
    child.stdout.on("data", (bytes: Buffer) => out.push(bytes))
    child.stderr.on("data", (bytes: Buffer) => err.push(bytes))
    child.on("close", (status) => resume(Effect.succeed({ status, out: Buffer.concat(out), err: Buffer.concat(err) })))
  })

/** Runs a command to its end. */
export const run = Effect.fnUntraced(function* (argv: ReadonlyArray<string>, input: Uint8Array = new Uint8Array(0)) {
  const child = yield* start(argv)
  child.stdin.end(input)
  return yield* ended(child)
}, Effect.scoped)
