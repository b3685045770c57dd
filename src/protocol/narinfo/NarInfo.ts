/**
 * A narinfo: what a binary cache says of a path, as lines of text, each `Key: value`.
 *
 * It is a path info, where the NAR is, and how that is compressed. Paths of references and deriver are base names.
 *
 * @see Nix `src/libstore/nar-info.cc`
 */
import { Result, Schema } from "effect"
import { bytesMax, WireError } from "../wire/Codec.ts"
import * as ContentAddress from "../nix/ContentAddress.ts"
import * as Hash from "../nix/Hash.ts"
import { PathInfo } from "../nix/PathInfo.ts"
import * as Store from "../nix/StorePath.ts"

export interface NarInfo {
  /** Without registration time and `ultimate`, which a narinfo does not tell. */
  readonly info: PathInfo
  /** Relative to the cache. */
  readonly url: string
  /** `none`, `xz`, `zstd` and others; a cache may invent one. */
  readonly compression: string
  /** Of the file behind the URL; null where nothing is said. */
  readonly fileHash: Hash.Hash | null
  /** Bytes. */
  readonly fileSize: number | null
}

export const print = ({ compression, fileHash, fileSize, info, url }: NarInfo): string =>
  [
    `StorePath: ${Store.print(info.path)}`,
    `URL: ${url}`,
    `Compression: ${compression}`,
    ...(fileHash === null ? [] : [`FileHash: ${Hash.printNix32(fileHash)}`]),
    ...(fileSize === null ? [] : [`FileSize: ${fileSize}`]),
    `NarHash: ${Hash.printNix32(Hash.sha256(info.narHash))}`,
    `NarSize: ${info.narSize}`,
    // The space stays where there are none.
    `References: ${info.references.join(" ")}`,
    ...(info.deriver === null ? [] : [`Deriver: ${info.deriver}`]),
    ...info.signatures.map((signature) => `Sig: ${signature}`),
    // A path info may hold any text here, lines that would be read as others too.
    ...(ContentAddress.parse(info.contentAddress) instanceof WireError ? [] : [`CA: ${info.contentAddress}`])
  ]
    .map((line) => `${line}\n`)
    .join("")

/** Passes over keys that it does not know, as Nix does. */
export const parse = (text: string): NarInfo | WireError => {
  if (text.length > bytesMax)
    return new WireError({ expected: `a narinfo of at most ${bytesMax} characters`, found: `${text.length}` })
  try {
    return read(fieldsOf(text))
  } catch (error) {
    if (error instanceof WireError) return error
    throw error
  }
}

type Fields = ReadonlyMap<string, ReadonlyArray<string>>

const fieldsOf = (text: string): Fields => {
  if (!text.endsWith("\n")) throw wrong("a narinfo that ends with a line's end", text.slice(-100))
  const fields = new Map<string, Array<string>>()
  for (const line of text.slice(0, -1).split("\n")) {
    const colon = line.indexOf(": ")
    if (colon < 0) throw wrong("a line `Key: value`", line)
    const key = line.slice(0, colon)
    const values = fields.get(key) ?? []
    if (values.length > 0 && key !== "Sig") throw wrong("each key once", line)
    values.push(line.slice(colon + 2))
    fields.set(key, values)
  }
  return fields
}

const read = (fields: Fields): NarInfo => {
  const optional = (key: string) => fields.get(key)?.[0] ?? null
  const needed = (key: string) => optional(key) ?? fail(wrong(`the line ${key}`, "none"))
  const fileHash = optional("FileHash")
  const fileSize = optional("FileSize")
  const deriver = optional("Deriver")
  const contentAddress = optional("CA") ?? ""
  if (contentAddress !== "") valid(ContentAddress.parse(contentAddress))
  const info = {
    path: valid(Store.parse(needed("StorePath"))),
    deriver: deriver === null || deriver === "unknown-deriver" ? null : valid(Store.parseBase(deriver)),
    narHash: valid(Hash.parseSha256(needed("NarHash"))),
    narSize: count(needed("NarSize")),
    references: needed("References")
      .split(" ")
      .filter((name) => name !== "")
      .map((name) => valid(Store.parseBase(name))),
    registrationTime: 0,
    ultimate: false,
    signatures: fields.get("Sig") ?? [],
    contentAddress
  }
  const made = makePathInfo(info)
  if (Result.isFailure(made)) throw wrong("a path info", String(made.failure))
  return {
    info: made.success,
    url: needed("URL"),
    // Nix had nothing but bzip2 when it did not write this line yet.
    compression: optional("Compression") ?? "bzip2",
    fileHash: fileHash === null ? null : valid(Hash.parse(fileHash)),
    fileSize: fileSize === null ? null : count(fileSize)
  }
}

const makePathInfo = Schema.decodeUnknownResult(PathInfo)

const count = (text: string): number => {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : -1
  return Number.isSafeInteger(number) && number >= 0 ? number : fail(wrong("a number of bytes", text))
}

const valid = <A>(parsed: A | WireError): A => (parsed instanceof WireError ? fail(parsed) : parsed)

const fail = (error: WireError): never => {
  throw error
}

const wrong = (expected: string, found: string) =>
  new WireError({ expected: `${expected} in a narinfo`, found: found.slice(0, 200) })
