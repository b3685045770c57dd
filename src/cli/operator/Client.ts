/** The operator's end of the socket: asks the running server one thing, and tells clearly when there is none. */
import { Effect, Schema } from "effect"
import * as net from "node:net"
import { answers, Reply, type Request } from "./Request.ts"
import { SocketError, socketPath } from "./SocketPath.ts"

/** The server was not reached, or said no. */
export class AskError extends Schema.TaggedError<AskError>()("AskError", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** Bytes; more than the longest answer that a server gives. */
const replyBytesMax = 64 * 1024 ** 2

const explain = (dataDir: string) => (error: SocketError) => {
  switch (error.code) {
    case "ENOENT":
    case "ECONNREFUSED":
      return new AskError({ detail: `expected a server running on ${dataDir}, found none; \`npm start\` starts one` })
    case "EACCES":
      return new AskError({ detail: `expected to be root, or the user that the server of ${dataDir} runs as` })
    default:
      return new AskError({ detail: `asking the server of ${dataDir}: ${error.message}` })
  }
}

const exchange = (path: string, line: string) =>
  Effect.callback<string, SocketError>((resume) => {
    const chunks: Array<Buffer> = []
    let length = 0
    const socket = net.connect(path, () => socket.write(`${line}\n`))
    socket.on("error", (error) => resume(Effect.fail(SocketError.from(error))))
    socket.on("data", (chunk: Buffer) => {
      length += chunk.length
      if (length > replyBytesMax) socket.destroy(new Error(`expected an answer of at most ${replyBytesMax} bytes`))
      chunks.push(chunk)
    })
    socket.on("end", () => resume(Effect.succeed(Buffer.concat(chunks).toString("utf8"))))
    return Effect.sync(() => socket.destroy())
  })

const decodeReply = Schema.decodeUnknownEffect(Schema.fromJsonString(Reply))

const notAnAnswer = () =>
  new AskError({ detail: "expected an answer of this version of Drover, found another; is the server an older one?" })

type Name = Request["_tag"]

/** Asks the server of this data directory one thing, by the name that it has among the requests. */
export const ask = Effect.fnUntraced(function* <N extends Name>(
  dataDir: string,
  name: N,
  asked: Omit<Extract<Request, { readonly _tag: N }>, "_tag">
): Effect.fn.Return<(typeof answers)[N]["Type"], AskError> {
  const line = JSON.stringify({ _tag: name, ...asked })
  const text = yield* Effect.scoped(Effect.flatMap(socketPath(dataDir), (path) => exchange(path, line))).pipe(
    Effect.mapError(explain(dataDir))
  )
  const reply = yield* Effect.mapError(decodeReply(text), notAnAnswer)
  if ("refused" in reply) return yield* new AskError({ detail: reply.refused })
  // An entry of the table by its name is the schema of that name.
  const answer = answers[name] as Schema.Codec<(typeof answers)[N]["Type"], unknown>
  return yield* Effect.mapError(Schema.decodeUnknownEffect(answer)(reply.ok), notAnAnswer)
})
