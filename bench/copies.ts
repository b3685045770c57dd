/**
 * What small paths cost that a client uploads one by one, or together: how long it waits for each, beside the stock
 * builder, and what processor time the server and its database take. Both get the same in turn.
 *
 *   node bench/copies.ts [--scheme ssh|ssh-ng] [--paths 500] [--rounds 10]
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Drover from "../test/support/Drover.ts"
import * as Process from "../test/support/Process.ts"
import * as ProcessTable from "../test/support/ProcessTable.ts"
import * as Client from "./Client.ts"
import * as Figures from "./Figures.ts"
import * as Processor from "./Processor.ts"
import * as StockBuilder from "./StockBuilder.ts"

const { values } = parseArgs({
  options: {
    scheme: { type: "string", default: "ssh" },
    paths: { type: "string", default: "500" },
    rounds: { type: "string", default: "10" }
  }
})
const [paths, rounds] = [Number(values.paths), Number(values.rounds)]
const scheme = values.scheme === "ssh-ng" ? "ssh-ng" : "ssh"

/** The first uploads are for the compiler. */
const warmUps = 2

const bench = async (dir: string) => {
  await using stack = new AsyncDisposableStack()
  const { signal } = new AbortController()
  const stock = await StockBuilder.open(path.join(dir, "stock"), signal)
  stack.defer(stock.close)
  const drover = await Drover.start(path.join(dir, "drover"))
  stack.defer(async () => void (await drover.stop()))
  const open = async (subject: Figures.Subject, sshConfig: string) => {
    mkdirSync(path.join(dir, `client-${subject}`))
    const client = await Client.open(path.join(dir, `client-${subject}`), subject, sshConfig, signal)
    stack.defer(client.close)
    return client
  }
  const clients = [await open("drover", drover.sshConfig), await open("stock", stock.sshConfig)]

  const server = ProcessTable.familyOf(drover.process.pid).find(({ command }) => command.includes("/src/main.ts\0"))
  if (server === undefined) throw new Error("expected the server among the processes that were started, found it not")
  const database = Number(readFileSync(path.join(drover.ready.data, "postgres/postmaster.pid"), "utf8").split("\n")[0])
  /** Connections end and begin; what one has had that has ended is not counted. */
  const processor = () => ({
    server: new Map([[server.pid, Processor.seconds(server.pid)]]),
    database: new Map(ProcessTable.familyOf(database).map(({ pid }) => [pid, Processor.seconds(pid)]))
  })
  const between = (before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>) =>
    [...after].reduce((sum, [pid, seconds]) => sum + seconds - (before.get(pid) ?? 0), 0)

  const waits = { drover: new Array<number>(), stock: new Array<number>() }
  const taken = { server: new Array<number>(), database: new Array<number>() }
  for (let round = -warmUps; round < rounds; round++) {
    process.stderr.write(`copies: ${round < 0 ? "warms up" : `round ${round + 1} of ${rounds}`}\n`)
    for (const client of round % 2 === 0 ? clients : clients.toReversed()) {
      const added = await Client.addSmall(client, dir, paths)
      // What the file system still owes for the new paths is not the copy's doing.
      await Process.must(["sync"])
      const before = processor()
      const seconds = await Client.copy(client, scheme, "to", added)
      const after = processor()
      if (round < 0) continue
      waits[client.subject].push(seconds / paths)
      if (client.subject === "stock") continue
      taken.server.push(between(before.server, after.server) / paths)
      taken.database.push(between(before.database, after.database) / paths)
    }
  }
  return { waits, taken }
}

const dir = mkdtempSync(path.join(os.tmpdir(), "drover-bench-"))
chmodSync(dir, 0o755)
try {
  const { taken, waits } = await bench(dir)
  const row = (name: string, seconds: ReadonlyArray<number>) => {
    const summary = Figures.summarise(seconds)!
    return [name, ...[summary.median, summary.min, summary.max].map((value) => (value * 1000).toFixed(2))]
  }
  const table = Figures.table([
    ["milliseconds a path", "median", "min", "max"],
    row("the client waits", waits.drover),
    row("of a processor: server", taken.server),
    row("of a processor: its database", taken.database),
    row("the client of the stock builder waits", waits.stock)
  ])
  const ratios = Figures.summarise(waits.drover.map((wait, index) => wait / waits.stock[index]!))!
  process.stdout.write(
    `${table}\n\n${ratios.median.toFixed(2)} times as long, pair by pair (${ratios.min.toFixed(2)}–${ratios.max.toFixed(2)}); ` +
      `${paths} paths, ${scheme}, ${rounds} pairs, load ${os.loadavg()[0]?.toFixed(1)}\n`
  )
} finally {
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
}
