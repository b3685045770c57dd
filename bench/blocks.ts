/**
 * What it costs to make disks of closures, and how fast they are read. Alone, in one process but for the last rows:
 *
 *   node bench/blocks.ts [--rounds N]
 *
 * `new`: no NAR is known yet. `changed`: one is new, all others are known. `same`: all are.
 */
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as zlib from "node:zlib"
import { type Listing, printJson } from "../src/protocol/nar/Listing.ts"
import { Sha256 } from "../src/protocol/nix/Hash.ts"
import { StorePath } from "../src/protocol/nix/StorePath.ts"
import { attach } from "../src/sandbox/block/Attachment.ts"
import type { Answer, Closure } from "../src/sandbox/block/Control.ts"
import { Disk } from "../src/sandbox/block/Disk.ts"
import * as Erofs from "../src/sandbox/block/Erofs.ts"
import { NarFiles } from "../src/sandbox/block/NarFiles.ts"
import * as NarImage from "../src/sandbox/block/NarImage.ts"
import { Server } from "../src/sandbox/block/Server.ts"
import type { StoredNar } from "../src/sandbox/ClosureSource.ts"
import { SandboxError } from "../src/sandbox/SandboxError.ts"
import * as nbd from "../test/support/nbd.ts"
import * as Figures from "./Figures.ts"

/** Of a closure of 500 paths that was measured, 34,500 inodes: 69 each. */
const [directoriesEach, filesEach] = [8, 60]

const listingOf = (path: number): Listing => {
  const directory = (entries: { [name: string]: Listing }): Listing => ({ type: "directory", entries })
  const files: Array<{ [name: string]: Listing }> = Array.from({ length: directoriesEach }, () => ({}))
  for (let index = 0; index < filesEach; index++) {
    const name = `some-module-${String(index).padStart(3, "0")}.${path}.py`
    const file: Listing = { type: "regular", size: 2000 + index, executable: false, narOffset: 4096 * (index + 1) }
    files[index % directoriesEach]![name] = file
  }
  return directory(Object.fromEntries(files.map((entries, index) => [`directory-${index}`, directory(entries)])))
}

let hashes = 0
const narOf = (listing: Listing): StoredNar => ({
  narHash: Sha256.make((hashes++).toString().padStart(64, "0")),
  listing: zlib.deflateRawSync(printJson(listing)),
  contents: { _tag: "File", path: "/nowhere" }
})

/** Milliseconds from the question to the disk, all that the process does of it, and those of a processor. */
const compose = async (server: Composer, nars: ReadonlyArray<StoredNar>) => {
  const closure: Closure = nars.map(({ narHash }, index) => ({
    path: StorePath.make(`${narHash.slice(-32)}-a-package-of-some-name-${index}`),
    narHash
  }))
  const byHash = new Map(nars.map((nar) => [nar.narHash, nar]))
  const before = process.cpuUsage()
  const begun = performance.now()
  let answer = await server.ask({ _tag: "Compose", disk: 1, closure })
  if (answer._tag === "Missing") {
    answer = await server.ask({ _tag: "Add", disk: 1, nars: answer.narHashes.map((hash) => byHash.get(hash)!) })
  }
  const took = performance.now() - begun
  const { system, user } = process.cpuUsage(before)
  if (answer._tag !== "Composed") throw new Error(JSON.stringify(answer))
  server.server.receive({ _tag: "Forget", disk: 1 }, null)
  return { took, processor: (user + system) / 1000 }
}

class Composer {
  #answer: (answer: Answer) => void = () => {}
  readonly server = new Server((answer) => this.#answer(answer))
  ask(request: Parameters<Server["receive"]>[0]): Promise<Answer> {
    return new Promise((resolve) => {
      this.#answer = resolve
      this.server.receive(request, null)
    })
  }
}

/** MB a second over a socket, from a warm file of one NAR. */
const read = async (
  client: nbd.Client,
  options: {
    readonly requestBytes: number
    readonly count: number
    readonly sizeBytes: number
    readonly random: boolean
  }
): Promise<number> => {
  const { count, random, requestBytes, sizeBytes } = options
  const inFlightMax = 16
  const slots = Math.floor(sizeBytes / requestBytes)
  let sent = 0
  let received = 0
  const begun = performance.now()
  await new Promise<void>((resolve) => {
    const send = () => {
      while (sent < count && sent - Math.floor(received / (requestBytes + 16)) < inFlightMax) {
        const slot = random ? (sent * 7919) % slots : sent % slots
        client.socket.write(nbd.request(0, sent++, slot * requestBytes, requestBytes))
      }
    }
    client.socket.removeAllListeners("data").on("data", (chunk) => {
      received += chunk.length
      if (received >= count * (requestBytes + 16)) resolve()
      else send()
    })
    send()
  })
  return (count * requestBytes) / 1e6 / ((performance.now() - begun) / 1000)
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "10" } } })
const rounds = Number(values.rounds)
type Composed = Awaited<ReturnType<typeof compose>>
const summary = (name: string, unit: string, measured: ReadonlyArray<number>) => {
  const { max, median, min } = Figures.summarise(measured)!
  return [name, median.toFixed(1), `${min.toFixed(1)}–${max.toFixed(1)}`, unit]
}

const rows: Array<ReadonlyArray<string>> = [["", "median", "min–max", ""]]
for (const paths of [5, 100, 500]) {
  const figures = { new: new Array<Composed>(), changed: new Array<Composed>(), same: new Array<Composed>() }
  for (let round = -2; round < rounds; round++) {
    const nars = Array.from({ length: paths }, (_, index) => narOf(listingOf(index)))
    const server = new Composer()
    const fresh = await compose(server, nars)
    const changed = await compose(server, [narOf(listingOf(0)), ...nars.slice(1)])
    const same = await compose(server, nars)
    // The first rounds are for the compiler.
    if (round < 0) continue
    figures.new.push(fresh)
    figures.changed.push(changed)
    figures.same.push(same)
  }
  for (const [kind, measured] of Object.entries(figures)) {
    const took = measured.map(({ took }) => took)
    const processor = measured.map(({ processor }) => processor)
    rows.push(summary(`${paths} paths, ${kind}`, "ms", took), summary("  of a processor", "ms", processor))
  }
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "drover-bench-"))
try {
  const size = 256 * 2 ** 20
  const file = path.join(dir, "nar")
  fs.writeFileSync(file, Buffer.alloc(size + 8192, "contents"))
  const image = Erofs.compose([
    {
      path: StorePath.make(`${"0".repeat(32)}-large`),
      image: NarImage.compose({ type: "regular", size, executable: false, narOffset: 96 }),
      contents: { _tag: "File" as const, path: file }
    }
  ])
  if (image instanceof SandboxError) throw image
  const disk = new Disk(image, new NarFiles())
  const server = net.createServer((socket) => attach(socket, disk, () => {}))
  const socket = path.join(dir, "s")
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  for (const [name, requestBytes, count, random] of [
    ["128 KiB in order", 128 * 1024, 2000, false],
    ["4 KiB anywhere", 4096, 20_000, true]
  ] as const) {
    const measured: Array<number> = []
    for (let round = -1; round < rounds; round++) {
      const client = await nbd.connect(socket)
      const sizeBytes = await nbd.go(client)
      const rate = await read(client, { requestBytes, count, sizeBytes, random })
      client.socket.destroy()
      if (round >= 0) measured.push(rate)
    }
    rows.push(summary(name, "MB/s", measured))
  }
  server.close()
} finally {
  fs.rmSync(dir, { recursive: true, force: true })
}
process.stdout.write(`${Figures.table(rows)}\n`)
