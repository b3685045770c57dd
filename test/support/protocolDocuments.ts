/**
 * The pages of `docs/protocol`, made from the codecs and from what clients were recorded to send:
 *
 *   node test/support/protocolDocuments.ts
 *
 * A test compares them with what is there, so that a page never says what the code does not.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { BuildResult as ServeBuildResult } from "../../src/protocol/serve/BuildResult.ts"
import { BuildOptions, commands } from "../../src/protocol/serve/Command.ts"
import { Trailer } from "../../src/protocol/serve/ExportedPath.ts"
import * as ServeHandshake from "../../src/protocol/serve/Handshake.ts"
import { PathInfo as QueriedPathInfo } from "../../src/protocol/serve/PathInfo.ts"
import type * as Codec from "../../src/protocol/wire/Codec.ts"
import * as Stderr from "../../src/protocol/wire/Stderr.ts"
import { printVersion } from "../../src/protocol/wire/Variant.ts"
import { Item } from "../../src/protocol/worker/AddToStore.ts"
import { BuildMode } from "../../src/protocol/worker/Build.ts"
import { BuildResult, KeyedBuildResult, Status } from "../../src/protocol/worker/BuildResult.ts"
import { BasicDerivation, Output } from "../../src/protocol/worker/Derivation.ts"
import { DerivedPath } from "../../src/protocol/worker/DerivedPath.ts"
import { GarbageAction, Root } from "../../src/protocol/worker/Maintenance.ts"
import type { Operation, Transfer } from "../../src/protocol/worker/Operation.ts"
import { operations } from "../../src/protocol/worker/Operations.ts"
import { PathInfo, UnkeyedPathInfo } from "../../src/protocol/worker/PathInfo.ts"
import { KeyedSubstitutablePathInfo, SubstitutablePathInfo } from "../../src/protocol/worker/Query.ts"
import { Realisation, UnkeyedRealisation } from "../../src/protocol/worker/Realisation.ts"
import * as Version from "../../src/protocol/worker/Version.ts"
import { clients, type Clients } from "./golden.ts"

type Types = Readonly<Record<string, Codec.Named<any>>>

const workerTypes: Types = {
  PathInfo,
  UnkeyedPathInfo,
  Item,
  SubstitutablePathInfo,
  KeyedSubstitutablePathInfo,
  BasicDerivation,
  Output,
  DerivedPath,
  BuildMode,
  BuildResult,
  KeyedBuildResult,
  Status,
  Realisation,
  UnkeyedRealisation,
  GarbageAction,
  Root,
  StderrMessage: Stderr.Message,
  Field: Stderr.Field,
  Verbosity: Stderr.Verbosity,
  ActivityType: Stderr.ActivityType,
  ResultType: Stderr.ResultType
}

const serveTypes: Types = {
  QueriedPathInfo,
  PathInfo,
  BasicDerivation,
  Output,
  BuildOptions,
  BuildResult: ServeBuildResult,
  Status,
  UnkeyedRealisation,
  Trailer
}

const made = "<!-- Made by test/support/protocolDocuments.ts from the codecs; change those. -->"

const primitives = `Everything is made of two things: \`u64\`, eight bytes with the lowest first, and \`bytes\`, which is a \`u64\`
length, that many bytes, and zeros up to a multiple of eight. \`text\` is bytes that are UTF-8, \`bool\` a \`u64\`, \`x*\` a
count and then that many \`x\`, \`(a, b)\` one after the other, \`(0 | 1 x)\` a zero, or a one and then an \`x\`. Names in
lower case that say what a text holds (\`store-path\`, \`output-name\`, …) are text. What is indented below a version
or a feature is there from it on.`

const block = (grammar: string): string => `\`\`\`\n${grammar}\n\`\`\``

/** What either side says, and the stream that may follow. */
const exchange = (client: readonly [grammar: string, stream: string | null], server: typeof client): string => {
  const side = ([grammar, stream]: typeof client): string =>
    [grammar.replaceAll(/^/gm, "  "), ...(stream === null ? [] : [`  then ${stream}`])].join("\n")
  return block(`client\n${side(client)}\nserver\n${side(server)}`)
}

const table = (
  names: ReadonlyArray<string>,
  protocol: "worker" | "serve",
  { clients, operations }: Clients
): string => {
  const row = (cells: ReadonlyArray<string | number>) => `| ${cells.join(" | ")} |`
  return [
    row(["", ...clients]),
    row(["---", ...clients.map(() => "---:")]),
    ...names.map((name) =>
      row([name, ...clients.map((client) => operations[protocol][name]?.[client]?.connections ?? "")])
    )
  ].join("\n")
}

const typeSections = (types: Types): string =>
  Object.entries(types)
    .map(([name, { definition }]) => `### ${name}\n\n${block(definition)}`)
    .join("\n\n")

// -----------------------------------------------------------------------------
// the worker protocol
// -----------------------------------------------------------------------------

const transfers: { readonly [T in Exclude<Transfer, "none">]: string } = {
  framed: "a stream in frames",
  nar: "a NAR",
  pulled: "a stream that the server pulls"
}

/** How an upload travels, by version where that changed. */
const uploadOf = ({ upload }: Operation<any, any>): string | null => {
  const versions = Array.from({ length: Version.newest - Version.oldest + 1 }, (_, index) => Version.oldest + index)
  const changes = versions.filter((version) => version === Version.oldest || upload(version) !== upload(version - 1))
  const said = changes.flatMap((version) => {
    const how = upload(version)
    if (how === "none") return []
    return [version === Version.oldest ? transfers[how] : `since ${printVersion(version)} ${transfers[how]}`]
  })
  return said.length === 0 ? null : said.join(", ")
}

const spoken = ({ since, until }: Operation<any, any>): string => {
  const from = since > Version.oldest ? `since ${printVersion(since)}` : ""
  const to = until === null ? "" : until === Version.oldest ? `by old clients alone` : `up to ${printVersion(until)}`
  const said = [from, to].filter((text) => text !== "").join(", ")
  return said === "" ? "" : ` (${said})`
}

const worker = (recorded: Clients): string => {
  const entries = Object.entries<Operation<any, any>>(operations).sort(([, a], [, b]) => a.code - b.code)
  const sections = entries.map(([name, operation]) =>
    [
      `### ${operation.code} ${name}${spoken(operation)}`,
      exchange(
        [operation.request.grammar, uploadOf(operation)],
        [operation.response.grammar, operation.download === "nar" ? transfers.nar : null]
      )
    ].join("\n\n")
  )
  return `${made}

# The worker protocol

What \`nix-daemon --stdio\` answers and \`ssh-ng://\` speaks: versions ${printVersion(Version.oldest)} to ${printVersion(
    Version.newest
  )}, with the features
${Version.offered.map((feature) => `\`${feature}\``).join(" and ")}.

${primitives}

After the handshake (\`src/protocol/worker/Handshake.ts\`) the client sends the number of an operation, its request,
and perhaps a stream. The server says any number of \`StderrMessage\`s, the last of which is \`Last\`, and the response
follows; or it is \`Error\`, and nothing does.

A stream in frames is any number of frames, each a \`u64\` length and that many bytes without padding, ended by a
length of zero. A stream is pulled by \`Read\` messages, each answered with \`bytes\`. A NAR ends where its own grammar
says. In the frames of AddMultipleToStore there is a count, and then as often an \`Item\` and its NAR.

## Who sends what

In how many recorded connections each client sends an operation. ${recordedNote}

${table(
  entries.map(([name]) => name),
  "worker",
  recorded
)}

## Operations

${sections.join("\n\n")}

## Types

${typeSections(workerTypes)}
`
}

const recordedNote = `The recordings are of builds, copies, queries and
store commands; of 2.36.0 there are five, all of builds. An empty cell says no more than that none of them has it.`

// -----------------------------------------------------------------------------
// the serve protocol
// -----------------------------------------------------------------------------

const serve = (recorded: Clients): string => {
  const entries = Object.entries(commands)
  const streams = { none: null, nar: "a NAR", export: "NARs, each after a one and before its Trailer, then a zero" }
  const sections = entries.map(([name, command]) =>
    [
      `### ${command.code} ${name}${command.writes ? "" : " (also when read-only)"}`,
      exchange(
        [command.request.grammar, streams[command.upload]],
        [command.response.grammar, streams[command.download]]
      )
    ].join("\n\n")
  )
  return `${made}

# The serve protocol

What \`nix-store --serve --write\` answers and \`ssh://\` speaks: versions ${printVersion(ServeHandshake.oldest)} to ${printVersion(
    ServeHandshake.newest
  )}.

${primitives}

After the handshake (\`src/protocol/serve/Handshake.ts\`) the client sends the number of a command, its request, and
perhaps a stream; the server answers. A build's log goes to the channel's stderr, as it is. So does an error, with
which the connection ends. A NAR ends where its own grammar says.

## Who sends what

In how many recorded connections each client sends a command. ${recordedNote}

${table(
  entries.map(([name]) => name),
  "serve",
  recorded
)}

## Commands

${sections.join("\n\n")}

## Types

${typeSections(serveTypes)}
`
}

/** By file name, in `docs/protocol`. */
export const protocolDocuments = (): ReadonlyMap<string, string> => {
  const recorded = clients()
  return new Map([
    ["worker.md", worker(recorded)],
    ["serve.md", serve(recorded)]
  ])
}

export const directory = path.join(import.meta.dirname, "../../docs/protocol")

if (import.meta.main) {
  fs.mkdirSync(directory, { recursive: true })
  for (const [file, text] of protocolDocuments()) fs.writeFileSync(path.join(directory, file), text)
}
