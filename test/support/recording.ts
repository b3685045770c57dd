/**
 * A recorded conversation between a real client and a real server, taken apart by our own codecs.
 *
 * Client and server bytes are read alternately, as the two would have: a request, what the server
 * says meanwhile, its answer. Streams of contents are walked over. Where a recording was cut off, or
 * the client went away, the walk ends.
 */
import { Effect, Result } from "effect"
import * as Command from "../../src/protocol/serve/Command.ts"
import * as ServeHandshake from "../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../src/protocol/wire/Codec.ts"
import type { Source } from "../../src/protocol/wire/Source.ts"
import * as Stderr from "../../src/protocol/wire/Stderr.ts"
import { ItemCount, Item } from "../../src/protocol/worker/AddToStore.ts"
import * as Handshake from "../../src/protocol/worker/Handshake.ts"
import * as Operation from "../../src/protocol/worker/Operation.ts"
import { find, type Name, operations } from "../../src/protocol/worker/Operations.ts"

export interface Recording {
  readonly client: string
  readonly server: string
  readonly case: string
  readonly connection: string
  readonly protocol: "worker" | "serve"
  /** May have been cut off when it was recorded. */
  readonly toServer: Uint8Array
  readonly toClient: Uint8Array
  /** What was asked, by another decoder: with it the server's half is read even where the client's was cut off. */
  readonly operations: ReadonlyArray<string>
}

/** A value with the bytes it was read from, and where they began. */
export interface Piece<A = unknown> {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly value: A
}

export interface Step {
  readonly name: string
  /** The request, without the number before it. Null where it was cut off. */
  readonly request: Piece | null
  /** What the server said before its answer; nothing in the serve protocol. */
  readonly messages: ReadonlyArray<Piece<Stderr.Message>>
  /** Null where there was an error instead. */
  readonly response: Piece | null
  /** What was uploaded in frames, put together. */
  readonly framed: Uint8Array | null
}

export interface Walk {
  readonly agreed: Codec.Version
  /** Bytes of the handshake, each way. */
  readonly greeting: { readonly toServer: Uint8Array; readonly toClient: Uint8Array }
  readonly startup: ReadonlyArray<Piece<Stderr.Message>>
  readonly steps: ReadonlyArray<Step>
  /** Whether both sides were read to their last byte. */
  readonly complete: boolean
}

/** Reads values one after another, and knows where it is. */
export class Cursor {
  readonly bytes: Uint8Array
  offset = 0
  readonly source: Source

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.source = {
      peek: Effect.sync(() => this.bytes.subarray(this.offset)),
      advance: (count) => {
        this.offset += count
      }
    }
  }

  get isAtEnd(): boolean {
    return this.offset >= this.bytes.length
  }

  /** Reads a value; undefined when the bytes end before it does. */
  read<A>(codec: Codec.Codec<A>, version: Codec.Version): Piece<A> | undefined {
    return this.run(codec.decode(version))
  }

  run<A>(pull: Codec.Pull<A>): Piece<A> | undefined {
    const offset = this.offset
    let step = pull.next()
    while (step.done !== true) {
      const end = this.offset + step.value
      if (end > this.bytes.length) {
        this.offset = this.bytes.length
        return undefined
      }
      step = pull.next(this.bytes.subarray(this.offset, end))
      this.offset = end
    }
    return { offset, bytes: this.bytes.subarray(offset, this.offset), value: step.value }
  }
}

const decoder = new TextDecoder("latin1")
const valued = new Set(["type", "contents", "target", "name", "executable"])

/** Walks over one NAR, by its tokens alone. */
export function* nar(): Codec.Pull<null> {
  yield* Codec.bytes.decode(0)
  let depth = 0
  do {
    const token = decoder.decode(yield* Codec.bytes.decode(0))
    if (token === "(") depth++
    if (token === ")") depth--
    if (valued.has(token)) yield* Codec.bytes.decode(0)
  } while (depth > 0)
  return null
}

/** All frames, put together. */
function* frames(): Codec.Pull<Uint8Array> {
  const chunks: Array<Uint8Array> = []
  for (;;) {
    const length = Number(yield* Codec.u64.decode(0))
    if (length === 0) return Buffer.concat(chunks)
    chunks.push((yield length).slice())
  }
}

/** Of what `AddMultipleToStore` carries: an info for each path. */
export function* items(): Codec.Pull<ReadonlyArray<Codec.Codec.Type<typeof Item>>> {
  const infos = []
  for (let left = yield* ItemCount.decode(0); left > 0; left--) {
    infos.push(yield* Item.decode(0))
    yield* nar()
  }
  return infos
}

/** Everything the server says until `Last` or `Error`; strings that it pulls are passed over. */
const converse = (client: Cursor | null, server: Cursor, agreed: Codec.Version) => {
  const messages: Array<Piece<Stderr.Message>> = []
  for (;;) {
    const message = server.read(Stderr.Message, agreed)
    if (message === undefined) return { messages, end: undefined }
    messages.push(message)
    const { _tag } = message.value
    if (_tag === "Last" || _tag === "Error") return { messages, end: _tag }
    // Where the recording ends within what is uploaded, the server's half goes on.
    if (_tag === "Read") client?.read(Codec.bytes, agreed)
  }
}

export const walk = (recording: Recording): Walk =>
  recording.protocol === "worker" ? worker(recording) : serve(recording)

const worker = (recording: Recording): Walk => {
  const client = new Cursor(recording.toServer)
  const server = new Cursor(recording.toClient)
  const opened = Effect.runSync(
    Handshake.open(server.source, () => Effect.void, { ...clientOf(recording), eager: true })
  )
  // Our own answer is not looked at: only where the client's half ends.
  Effect.runSync(Handshake.accept(client.source, () => Effect.void, opened.server))
  const { agreed } = opened
  const greeting = {
    toServer: recording.toServer.subarray(0, client.offset),
    toClient: recording.toClient.subarray(0, server.offset)
  }
  const startup = converse(client, server, agreed)
  const steps: Array<Step> = []
  const cut = { agreed, greeting, startup: startup.messages, steps, complete: false }

  let isWhole = true
  while ((isWhole && !client.isAtEnd) || !server.isAtEnd) {
    const asked: Asked | undefined = isWhole && !client.isAtEnd ? ask(client, agreed) : undefined
    isWhole = asked !== undefined
    const name = asked?.name ?? nameOf(recording.operations[steps.length])
    if (name === undefined) return cut
    const operation = anyOperation(name)
    const { end, messages } = converse(isWhole ? client : null, server, agreed)
    if (end === undefined) return cut
    const response = end === "Error" ? null : server.read(operation.response, agreed)
    if (response === undefined) return cut
    steps.push({ name, request: asked?.request ?? null, messages, response, framed: asked?.framed ?? null })
    if (response !== null && operation.download === "nar" && server.run(nar()) === undefined) return cut
  }
  return { ...cut, complete: isWhole && server.isAtEnd }
}

interface Asked {
  readonly name: Name
  readonly request: Piece
  readonly framed: Uint8Array | null
}

/** One request with what is uploaded after it, but for what the server pulls. */
const ask = (client: Cursor, agreed: Codec.Version): Asked | undefined => {
  const code = client.read(Operation.Code, agreed)
  if (code === undefined) return undefined
  const name = find(code.value)
  if (name === undefined) throw new Error(`unknown operation ${code.value} at ${code.offset}`)
  const operation = anyOperation(name)
  const request = client.read(operation.request, agreed)
  if (request === undefined) return undefined
  const upload = operation.upload(agreed)
  const framed = upload === "framed" ? client.run(frames()) : null
  if (framed === undefined || (upload === "nar" && client.run(nar()) === undefined)) return undefined
  return { name, request, framed: framed?.value ?? null }
}

const nameOf = (text: string | undefined): Name | undefined =>
  Object.values(operations)
    .map(({ code }) => find(code))
    .find((name) => name === text)

/** What the client said of itself: features are known only since 1.38. */
const clientOf = ({ toServer }: Recording) => {
  const cursor = new Cursor(toServer.subarray(8))
  const version = cursor.read(Codec.u32, 0)!.value
  const features = version >= 0x0126 ? cursor.read(Codec.list(Codec.text), 0)!.value : []
  return { version, features }
}

/** Any operation of the table, its types forgotten: here they are only passed on. */
const anyOperation = (name: Name) => operations[name] as Operation.Operation<any, any>
const anyCommand = (name: Command.Name) => Command.commands[name] as Command.Command<any, any>

const serve = (recording: Recording): Walk => {
  const client = new Cursor(recording.toServer)
  const server = new Cursor(recording.toClient)
  const ours = Result.getOrThrow(Codec.decode(Codec.u32, recording.toServer.subarray(8, 16), 0))
  const agreed = Effect.runSync(ServeHandshake.open(server.source, () => Effect.void, ours))
  Effect.runSync(ServeHandshake.accept(client.source, () => Effect.void))
  const greeting = { toServer: recording.toServer.subarray(0, 16), toClient: recording.toClient.subarray(0, 16) }
  const steps: Array<Step> = []
  const cut = { agreed, greeting, startup: [], steps, complete: false }

  let isWhole = true
  while ((isWhole && !client.isAtEnd) || !server.isAtEnd) {
    const asked: (Omit<Asked, "name"> & { name: Command.Name }) | undefined =
      isWhole && !client.isAtEnd ? command(client, agreed) : undefined
    isWhole = asked !== undefined
    const name = asked?.name ?? commandNameOf(recording.operations[steps.length])
    if (name === undefined) return cut
    const { download, response: codec } = anyCommand(name)
    const response = server.read(codec, agreed)
    if (response === undefined) return cut
    steps.push({ name, request: asked?.request ?? null, messages: [], response, framed: null })
    if (download === "nar" && server.run(nar()) === undefined) return cut
  }
  return { ...cut, complete: isWhole && server.isAtEnd }
}

const command = (client: Cursor, agreed: Codec.Version) => {
  const code = client.read(Command.Code, agreed)
  if (code === undefined) return undefined
  const name = Command.find(code.value)
  if (name === undefined) throw new Error(`unknown command ${code.value} at ${code.offset}`)
  const { request: codec, upload } = anyCommand(name)
  const request = client.read(codec, agreed)
  if (request === undefined || (upload === "nar" && client.run(nar()) === undefined)) return undefined
  return { name, request, framed: null }
}

const commandNameOf = (text: string | undefined): Command.Name | undefined =>
  Object.values(Command.commands)
    .map(({ code }) => Command.find(code))
    .find((name) => name === text)
