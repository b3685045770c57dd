/**
 * Closures as block devices: one read-only disk for each virtual machine, which holds the store paths that its build
 * may see and no other. The disk's file system (EROFS) has the store directory as its root.
 *
 * One process of its own serves them all: without keys, without the database, and with no files but NARs. A guest that
 * reads without end, or has got out of its machine, talks to that one and not to this; and to compose a large closure
 * stops nobody here. If it dies, the machines that it served are lost, and it is started again for the next.
 */
import { Context, Effect, Layer, type Scope, Semaphore } from "effect"
import * as net from "node:net"
import type { InputRead } from "../../domain/InputRead.ts"
import { ClosureSource } from "../ClosureSource.ts"
import { SandboxError } from "../SandboxError.ts"
import type { Answer, Closure } from "./Control.ts"
import * as ServerJail from "./ServerJail.ts"
import { type Disk, type Launch, ServerProcess } from "./ServerProcess.ts"

export interface Served {
  readonly sizeBytes: number
  /** The store paths of which any file was read so far: some of the closure's, each once. */
  readonly readLog: Effect.Effect<ReadonlyArray<InputRead>, SandboxError>
  /** Never succeeds; fails once the disk can no longer be read, because what serves it has died. */
  readonly lost: Effect.Effect<never, SandboxError>
}

export class BlockServer extends Context.Service<
  BlockServer,
  {
    /**
     * Serves the closure by NBD, under the empty export name, on a Unix socket that is made at this path, while the
     * scope is open. One client is let in, and the socket's file goes when it has come. Whoever can get to the path can
     * connect: it has to be in a directory that keeps others out.
     */
    readonly serve: (closure: Closure, socketPath: string) => Effect.Effect<Served, SandboxError, Scope.Scope>
  }
>()("drover/sandbox/BlockServer") {
  static readonly layer = (launch: Launch): Layer.Layer<BlockServer, SandboxError, ClosureSource> =>
    Layer.effect(BlockServer, make(launch))

  static readonly jailed = (options: ServerJail.Options): Layer.Layer<BlockServer, SandboxError, ClosureSource> =>
    Layer.effect(
      BlockServer,
      Effect.suspend(() => {
        const launch = ServerJail.launch(options)
        return launch instanceof SandboxError ? Effect.fail(launch) : make(launch)
      })
    )
}

/** Linux takes no longer path of a socket. */
const socketPathBytesMax = 107

const make = Effect.fnUntraced(function* (launch: Launch) {
  const closures = yield* ClosureSource
  const starting = yield* Semaphore.make(1)
  let current: ServerProcess | null = null
  yield* Effect.addFinalizer(() => Effect.suspend(() => current?.end ?? Effect.void))

  const running = Effect.suspend(() => {
    if (current?.isAlive === true) return Effect.as(current.ready, current)
    return Effect.try({
      try: () => (current = new ServerProcess(launch)),
      catch: (cause) => new SandboxError({ operation: "starting the block server", detail: String(cause), cause })
    }).pipe(Effect.flatMap((started) => Effect.as(started.ready, started)))
  }).pipe(starting.withPermits(1))

  /** What the process lacks is asked of whoever holds the store, and nothing that it knows. */
  const compose = Effect.fnUntraced(function* (disk: Disk, closure: Closure) {
    const answer = yield* disk.ask({ _tag: "Compose", disk: disk.number, closure })
    if (answer._tag !== "Missing") return yield* composed(answer)
    const nars = yield* closures.nars(answer.narHashes)
    return yield* Effect.flatMap(disk.ask({ _tag: "Add", disk: disk.number, nars }), composed)
  })

  const serve = Effect.fn("BlockServer.serve")(function* (closure: Closure, socketPath: string) {
    const disk = yield* Effect.flatMap(running, (process) => process.open)
    const sizeBytes = yield* compose(disk, closure)
    yield* listen(socketPath, disk)
    const readLog = Effect.flatMap(disk.ask({ _tag: "ReadLog", disk: disk.number }), (answer) =>
      answer._tag === "Read" ? Effect.succeed(believable(closure, answer.inputs)) : unexpected(answer)
    )
    return { sizeBytes, readLog, lost: disk.lost }
  })

  // What cannot be started is found out now, and not by the first build.
  yield* running
  return { serve }
})

/** A process that talks to guests may have become theirs: it names what its client could see, or nobody listens. */
const believable = (closure: Closure, inputs: ReadonlyArray<InputRead>): ReadonlyArray<InputRead> => {
  const told = new Map(inputs.map((input) => [input.path, input]))
  return closure.flatMap(({ path }) => told.get(path) ?? [])
}

const composed = (answer: Answer): Effect.Effect<number, SandboxError> =>
  answer._tag === "Composed" ? Effect.succeed(answer.sizeBytes) : unexpected(answer)

const unexpected = (answer: Answer) =>
  Effect.fail(
    new SandboxError({
      operation: "serving a closure",
      detail: answer._tag === "Refused" ? answer.detail : `expected another answer, found ${answer._tag}`,
      // The closure that is too large is its account's.
      isOfInputs: answer._tag === "Refused"
    })
  )

/** Lets one client in, and hands its connection on unread. */
const listen = (socketPath: string, disk: Disk): Effect.Effect<void, SandboxError, Scope.Scope> => {
  const failed = (detail: string) => new SandboxError({ operation: `listening on ${socketPath}`, detail })
  // The system would cut it, and listen elsewhere.
  if (Buffer.byteLength(socketPath) > socketPathBytesMax) {
    return Effect.fail(failed(`expected a path of at most ${socketPathBytesMax} bytes`))
  }
  const open = Effect.callback<net.Server, SandboxError>((resume) => {
    const server = net.createServer({ pauseOnConnect: true })
    server.once("error", (error) => resume(Effect.fail(failed(error.message))))
    // The machine has a user id of its own.
    server.listen({ path: socketPath, readableAll: true, writableAll: true }, () => resume(Effect.succeed(server)))
  })
  const close = (server: net.Server) => Effect.sync(() => server.close())
  return Effect.map(Effect.acquireRelease(open, close), (server) => {
    server.once("connection", (socket) => {
      server.close()
      // It is gone from here as soon as it is there.
      socket.on("error", () => {})
      disk.attach(socket)
    })
    server.on("error", () => {})
  })
}
