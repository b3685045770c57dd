/**
 * The operator's door: a Unix socket in the data directory, for those whom the file system lets reach it.
 *
 * It decides nothing: what a request is answered with, `Answers` asks of others. Requests are few and short, so
 * connections are, too.
 */
import { Cause, Effect, Exit, FiberSet, Layer, Result, Schema } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import { answer, type Services } from "./Answers.ts"
import { Request, requestBytesMax } from "./Request.ts"
import { SocketError, socketPath } from "./SocketPath.ts"

export class OperatorSocketError extends Schema.TaggedError<OperatorSocketError>()("OperatorSocketError", {
  cause: SocketError
}) {
  override get message() {
    return `cannot listen for the operator: ${this.cause.message}`
  }
}

const connectionsMax = 32

/** A peer that connects and says nothing holds one of those. */
const silenceMillisecondsMax = 10_000

const decode = Schema.decodeUnknownResult(Schema.fromJsonString(Request))

/** The line that goes back. */
const reply = Effect.fnUntraced(function* (line: string) {
  const request = decode(line)
  if (Result.isFailure(request)) return { refused: "expected a request of this version of Drover, found another" }
  const exit = yield* Effect.exit(answer(request.success))
  if (Exit.isSuccess(exit)) return { ok: exit.value }
  const failure = Cause.findError(exit.cause)
  if (Result.isSuccess(failure)) return { refused: failure.success.message }
  yield* Effect.logError("an operator's request was not answered", exit.cause)
  return { refused: "internal error; the server's log has it" }
})

/** Calls back with the first line, and with nothing of what comes after it. */
const readLine = (socket: net.Socket, onLine: (line: string) => void) => {
  const chunks: Array<Buffer> = []
  let length = 0
  socket.on("data", (chunk: Buffer) => {
    const end = chunk.indexOf(10)
    length += chunk.length
    if (length > requestBytesMax) {
      socket.destroy()
      return
    }
    chunks.push(end < 0 ? chunk : chunk.subarray(0, end))
    if (end < 0) return
    socket.removeAllListeners("data")
    socket.pause()
    onLine(Buffer.concat(chunks).toString("utf8"))
  })
}

/** Listens while the scope is open. */
export const listen = Effect.fn("OperatorSocket.listen")(
  function* (dataDir: string) {
    const path = yield* socketPath(dataDir)
    const run = yield* FiberSet.makeRuntime<Services>()
    const open = new Set<net.Socket>()
    yield* Effect.acquireRelease(
      Effect.callback<net.Server, SocketError>((resume) => {
        const server = net.createServer((socket) => {
          open.add(socket)
          socket.on("close", () => open.delete(socket))
          // The other end may go at any moment, which then is all there is to it.
          socket.on("error", () => socket.destroy())
          socket.setTimeout(silenceMillisecondsMax, () => socket.destroy())
          readLine(socket, (line) => {
            socket.setTimeout(0)
            run(Effect.map(reply(line), (value) => void socket.end(`${JSON.stringify(value)}\n`)))
          })
        })
        server.maxConnections = connectionsMax
        // Once it listens, one that cannot be accepted is no reason to end; an error that nobody hears of would be.
        server.on("error", (error) => resume(Effect.fail(SocketError.from(error))))
        // Left by a server that was killed. Another that lives would hold the data directory.
        fs.rmSync(path, { force: true })
        server.listen(path, () => {
          fs.chmodSync(path, 0o600)
          resume(Effect.succeed(server))
        })
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of open) socket.destroy()
        })
    )
  },
  Effect.mapError((cause) => new OperatorSocketError({ cause }))
)

export const layer = (dataDir: string) => Layer.effectDiscard(listen(dataDir))
