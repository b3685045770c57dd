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

const ask = Effect.fnUntraced(function* (dataDir: string, request: Request) {
  const text = yield* Effect.scoped(
    Effect.flatMap(socketPath(dataDir), (path) => exchange(path, JSON.stringify(request)))
  ).pipe(Effect.mapError(explain(dataDir)))
  const reply = yield* Effect.mapError(decodeReply(text), notAnAnswer)
  if ("refused" in reply) return yield* new AskError({ detail: reply.refused })
  return reply.ok
})

const notAnAnswer = () =>
  new AskError({ detail: "expected an answer of this version of Drover, found another; is the server an older one?" })

export const addAccount = (dataDir: string, asked: Omit<Extract<Request, { readonly _tag: "AddAccount" }>, "_tag">) =>
  ask(dataDir, { _tag: "AddAccount", ...asked }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.AddAccount)(ok), notAnAnswer))
  )

export const listAccounts = (dataDir: string) =>
  ask(dataDir, { _tag: "ListAccounts" }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.ListAccounts)(ok), notAnAnswer))
  )

/** With none to set, asks what there is. */
export const setQuotas = (dataDir: string, asked: Omit<Extract<Request, { readonly _tag: "SetQuotas" }>, "_tag">) =>
  ask(dataDir, { _tag: "SetQuotas", ...asked }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.SetQuotas)(ok), notAnAnswer))
  )

export const examine = (dataDir: string) =>
  ask(dataDir, { _tag: "Examine" }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.Examine)(ok), notAnAnswer))
  )

export const listHosts = (dataDir: string) =>
  ask(dataDir, { _tag: "ListHosts" }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.ListHosts)(ok), notAnAnswer))
  )

/** `resume`: as soon as it has shown that it can. */
export const lendHost = (dataDir: string, verb: "drain" | "resume", host: string) =>
  Effect.asVoid(ask(dataDir, { _tag: verb === "drain" ? "DrainHost" : "ResumeHost", host }))

export const showBuild = (dataDir: string, id: string) =>
  ask(dataDir, { _tag: "ShowBuild", id }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.ShowBuild)(ok), notAnAnswer))
  )

export const takeBack = (dataDir: string, distrusted: Extract<Request, { readonly _tag: "TakeBack" }>["distrusted"]) =>
  ask(dataDir, { _tag: "TakeBack", distrusted }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.TakeBack)(ok), notAnAnswer))
  )

export const listBuilds = (dataDir: string, limit: number) =>
  ask(dataDir, { _tag: "ListBuilds", limit }).pipe(
    Effect.flatMap((ok) => Effect.mapError(Schema.decodeUnknownEffect(answers.ListBuilds)(ok), notAnAnswer))
  )
