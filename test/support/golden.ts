/**
 * What real clients and servers wrote, as `test/golden/capture.ts` took it from recordings.
 *
 * Each golden says who spoke to whom, in which case, on which connection, and where in its bytes.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import type { Version } from "../../src/protocol/wire/Codec.ts"
import type { Recording } from "./recording.ts"

export const directory = path.join(import.meta.dirname, "../golden")

/** Where bytes come from. */
export interface Provenance {
  readonly client: string
  readonly server: string
  readonly case: string
  readonly connection: string
}

/** One value, as it was sent. */
export interface Golden extends Provenance {
  readonly agreed: Version
  /** In what that side sent on the connection. */
  readonly offset: number
  readonly bytes: Uint8Array
}

export interface Goldens {
  readonly requests: ReadonlyArray<Golden>
  readonly responses: ReadonlyArray<Golden>
}

/** As files have it: bytes are hex. */
export type Stored<A> = { readonly [K in keyof A]: A[K] extends Uint8Array ? string : A[K] }

const parse = <A>(file: string): A => JSON.parse(fs.readFileSync(path.join(directory, file), "utf8"))

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"))

const restore = (golden: Stored<Golden>): Golden => ({ ...golden, bytes: bytes(golden.bytes) })

/** Of an operation or a command. Empty where no recording has it. */
export const goldensOf = (protocol: Recording["protocol"], name: string): Goldens => {
  const file = `${protocol}/${name}.json`
  if (!fs.existsSync(path.join(directory, file))) return { requests: [], responses: [] }
  const { requests, responses } = parse<{ requests: Array<Stored<Golden>>; responses: Array<Stored<Golden>> }>(file)
  return { requests: requests.map(restore), responses: responses.map(restore) }
}

/** What servers said while they worked. */
export const stderrGoldens = (): ReadonlyArray<Golden> =>
  parse<{ messages: Array<Stored<Golden>> }>("worker/Stderr.json").messages.map(restore)

/** Whole conversations. */
export const conversations = (protocol: Recording["protocol"]): ReadonlyArray<Recording> => {
  const folder = `${protocol}/conversations`
  return fs
    .readdirSync(path.join(directory, folder))
    .sort()
    .map((file) => {
      const stored = parse<Stored<Recording>>(`${folder}/${file}`)
      return { ...stored, toServer: bytes(stored.toServer), toClient: bytes(stored.toClient) }
    })
}

/** By protocol, operation and client: in how many recordings it is sent, and one of them. */
export interface Clients {
  readonly source: string
  readonly clients: ReadonlyArray<string>
  readonly operations: {
    readonly [P in Recording["protocol"]]: {
      readonly [name: string]: { readonly [client: string]: { readonly connections: number; readonly example: string } }
    }
  }
}

export const clients = (): Clients => parse<Clients>("clients.json")
