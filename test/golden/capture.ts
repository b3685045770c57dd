/**
 * Takes goldens from recorded conversations:
 *
 *   node test/golden/capture.ts DIRECTORY
 *
 * DIRECTORY holds `client-VERSION--server-VERSION/CASE/connN/`, one SSH connection each, with the
 * bytes of either side in `c2s.bin` and `s2c.bin` (cut off where a file `*.truncated-from` says so)
 * and, by a decoder that is not ours, the operations in `decoded.json`.
 *
 * Before anything is written, every recording is read to its end: each operation must be the one, at
 * the offset, that `decoded.json` says, and each value must encode to the bytes it was read from.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Command from "../../src/protocol/serve/Command.ts"
import * as Codec from "../../src/protocol/wire/Codec.ts"
import * as Stderr from "../../src/protocol/wire/Stderr.ts"
import { find, operations } from "../../src/protocol/worker/Operations.ts"
import { type Clients, directory, type Golden, type Stored } from "../support/golden.ts"
import { type Piece, type Recording, type Step, walk, type Walk } from "../support/recording.ts"

/** A golden longer than this is left to the conversations. Bytes. */
const goldenBytesMax = 1200

/** Small ones that have builds and uploads, an upload that is refused in the middle among them. */
const wholeCases = ["build-ng-already", "build-ssh-already", "copy-to-ng", "copy-to-ng-again", "ccopy-to"]
/** The recordings of this client are cut off; what of them is whole is kept. */
const partCases = ["client-2.36.0--server-2.36.0/build-ng-trivial", "client-2.36.0--server-2.36.0/build-ssh-trivial"]

interface Read {
  readonly recording: Recording
  readonly walk: Walk
}

const list = (folder: string): ReadonlyArray<string> => fs.readdirSync(folder).sort()

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const hasBytes = (bytes: Uint8Array, other: Uint8Array): boolean => Buffer.compare(bytes, other) === 0

// -----------------------------------------------------------------------------
// reading
// -----------------------------------------------------------------------------

/** `decoded.json` may itself be cut off, but names its operations one after another. */
const namesIn = (decoded: string): ReadonlyArray<string> =>
  [...decoded.matchAll(/^   "name": "(\w+)",$/gm)].map(([, name]) => name!)

const offsetsIn = (decoded: string): ReadonlyArray<number> =>
  [...decoded.matchAll(/^   "at": (\d+),$/gm)].map(([, offset]) => Number(offset))

const read = (root: string, pair: string, name: string, connection: string): Read | undefined => {
  const folder = path.join(root, pair, name, connection)
  const file = (name: string): Buffer =>
    fs.existsSync(path.join(folder, name)) ? fs.readFileSync(path.join(folder, name)) : Buffer.alloc(0)
  const [toServer, toClient, decoded] = [file("c2s.bin"), file("s2c.bin"), file("decoded.json").toString()]
  // Some were given up before they had said anything.
  if (toServer.length < 16 || toClient.length < 16) return undefined
  const [, client, server] = /^client-(.+)--server-(.+)$/.exec(pair)!
  const protocol = toServer.toString("latin1", 0, 4) === "cxin" ? "worker" : "serve"
  const recording: Recording = {
    client: client === "lix" ? "lix-2.95.3" : client!,
    server: server!,
    case: name,
    connection,
    protocol,
    toServer,
    toClient,
    operations: namesIn(decoded)
  }
  const taken = walk(recording)
  check(`${pair}/${name}/${connection}`, recording, taken, offsetsIn(decoded))
  return { recording, walk: taken }
}

const codecsOf = (
  protocol: Recording["protocol"],
  name: string
): { request: Codec.Codec<any>; response: Codec.Codec<any> } =>
  Object.entries<{ request: Codec.Codec<any>; response: Codec.Codec<any> }>(
    protocol === "worker" ? operations : Command.commands
  ).find(([key]) => key === name)![1]

const check = (
  where: string,
  { operations, protocol }: Recording,
  walk: Walk,
  offsets: ReadonlyArray<number>
): void => {
  const same = <A>(codec: Codec.Codec<A>, piece: Piece<A>, what: string) => {
    if (!hasBytes(Codec.encode(codec, piece.value, walk.agreed), piece.bytes)) throw new Error(`${where}: ${what}`)
  }
  walk.steps.forEach((step, index) => {
    const { request, response } = codecsOf(protocol, step.name)
    if (index < operations.length && operations[index] !== step.name) throw new Error(`${where}: not ${step.name}`)
    if (step.request !== null) {
      if (index < offsets.length && offsets[index]! + 8 !== step.request.offset) throw new Error(`${where}: offset`)
      same(request, step.request, `request of ${step.name}`)
    }
    if (step.response !== null) same(response, step.response, `response of ${step.name}`)
    step.messages.forEach((message) => same(Stderr.Message, message, message.value._tag))
  })
}

// -----------------------------------------------------------------------------
// choosing
// -----------------------------------------------------------------------------

/** Of each kind and agreed version the longest that is short enough: it has the most to say. */
class Chosen {
  readonly #best = new Map<string, Golden>()

  offer(kind: string, { recording, walk }: Read, piece: Piece): void {
    if (piece.bytes.length === 0 || piece.bytes.length > goldenBytesMax) return
    const { case: name, client, connection, server } = recording
    const key = `${kind} ${walk.agreed}`
    if (piece.bytes.length <= (this.#best.get(key)?.bytes.length ?? 0)) return
    const { bytes, offset } = piece
    this.#best.set(key, { client, server, case: name, connection, agreed: walk.agreed, offset, bytes })
  }

  of(kind: string): ReadonlyArray<Stored<Golden>> {
    const found = [...this.#best].filter(([key]) => key.startsWith(`${kind} `)).map(([, golden]) => golden)
    return found.sort((a, b) => a.agreed - b.agreed).map((golden) => ({ ...golden, bytes: hex(golden.bytes) }))
  }

  get kinds(): ReadonlyArray<string> {
    return [...new Set([...this.#best.keys()].map((key) => key.split(" ")[0]!))].sort()
  }
}

const kindOf = (message: Stderr.Message): string =>
  `Stderr.${message._tag}${"type" in message ? `.${message.type}` : ""}`

const offer = (chosen: Chosen, read: Read, step: Step): void => {
  const { protocol } = read.recording
  if (step.request !== null) chosen.offer(`${protocol}.${step.name}.request`, read, step.request)
  if (step.response !== null) chosen.offer(`${protocol}.${step.name}.response`, read, step.response)
  step.messages.forEach((message) => chosen.offer(kindOf(message.value), read, message))
}

// -----------------------------------------------------------------------------
// writing
// -----------------------------------------------------------------------------

const source = "Recordings of real clients and servers, taken apart by test/golden/capture.ts."

const write = (file: string, contents: object): void => {
  const target = path.join(directory, file)
  fs.mkdirSync(path.dirname(target), { recursive: true })
  fs.writeFileSync(target, `${JSON.stringify({ source, ...contents }, null, 2)}\n`)
}

const writeConversation = ({ recording, walk }: Read, isPart: boolean): void => {
  // What was cut off in the middle of a request is of no use: the client's half ends with its last whole one.
  const last = walk.steps.findLast(({ request }) => request !== null)?.request
  const end = isPart
    ? last === null || last === undefined
      ? walk.greeting.toServer.length
      : last.offset + last.bytes.length
    : undefined
  write(`${recording.protocol}/conversations/${recording.client}-${recording.case}.json`, {
    ...recording,
    toServer: hex(recording.toServer.subarray(0, end)),
    toClient: hex(recording.toClient)
  })
}

const countClients = (reads: ReadonlyArray<Read>): Omit<Clients, "source"> => {
  const counted: {
    [P in Recording["protocol"]]: Record<string, Record<string, { connections: number; example: string }>>
  } = {
    worker: {},
    serve: {}
  }
  for (const { recording } of reads) {
    for (const name of new Set(recording.operations)) {
      const byClient = (counted[recording.protocol][name] ??= {})
      const entry = (byClient[recording.client] ??= {
        connections: 0,
        example: `${recording.case}/${recording.connection}`
      })
      entry.connections++
    }
  }
  const clients = [...new Set(reads.map(({ recording }) => recording.client))]
  // Versions in the order of their numbers, others after them.
  return { clients: clients.sort((a, b) => a.localeCompare(b, "en", { numeric: true })), operations: counted }
}

const main = (root: string): void => {
  const pairs = list(root).filter((name) => name.startsWith("client-"))
  const connections = pairs.flatMap((pair) =>
    list(path.join(root, pair)).flatMap((name) =>
      list(path.join(root, pair, name))
        .filter((entry) => entry.startsWith("conn"))
        .map((entry) => [pair, name, entry] as const)
    )
  )
  const chosen = new Chosen()
  const reads: Array<Read> = []
  for (const [pair, name, connection] of connections) {
    const found = read(root, pair, name, connection)
    if (found === undefined) continue
    reads.push(found)
    found.walk.steps.forEach((step) => offer(chosen, found, step))
    found.walk.startup.forEach((message) => chosen.offer(kindOf(message.value), found, message))
    const isWhole = wholeCases.includes(name) && connection === "conn1" && found.walk.complete
    const isPart = partCases.includes(`${pair}/${name}`)
    if (isWhole || isPart) writeConversation(found, isPart)
  }

  for (const { code } of Object.values(operations)) writeMessages(chosen, "worker", find(code)!)
  for (const { code } of Object.values(Command.commands)) writeMessages(chosen, "serve", Command.find(code)!)
  write("worker/Stderr.json", {
    messages: chosen.kinds.filter((kind) => kind.startsWith("Stderr.")).flatMap((kind) => chosen.of(kind))
  })
  write("clients.json", countClients(reads))
  const steps = reads.reduce((sum, { walk }) => sum + walk.steps.length, 0)
  console.log(`${reads.length} connections, ${steps} operations, all as decoded.json says and byte for byte`)
}

const writeMessages = (chosen: Chosen, protocol: Recording["protocol"], name: string): void => {
  const requests = chosen.of(`${protocol}.${name}.request`)
  const responses = chosen.of(`${protocol}.${name}.response`)
  if (requests.length + responses.length > 0) write(`${protocol}/${name}.json`, { requests, responses })
}

const [root] = process.argv.slice(2)
if (root === undefined) throw new Error("usage: node test/golden/capture.ts DIRECTORY")
main(root)
