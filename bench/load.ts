/**
 * Drover with many clients at once: what each costs, how they fare beside the stock builder's, and whether one can spoil
 * it for the others.
 *
 *   node bench/load.ts idle [--connections 1000]
 *   node bench/load.ts clients [--clients 10] [--builds 50] [--sandbox process|emulated]
 *   node bench/load.ts attack [--connections 100] [--builds 20]
 *
 * As root, from the project's directory, after `npm run bench` has once brought what it needs. Everything runs on this
 * machine and on loopback, clients included.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import ssh2 from "ssh2"
import * as Drover from "../test/support/Drover.ts"
import * as Process from "../test/support/Process.ts"
import * as ProcessTable from "../test/support/ProcessTable.ts"
import * as Client from "./Client.ts"
import * as Figures from "./Figures.ts"
import * as StockBuilder from "./StockBuilder.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    connections: { type: "string" },
    clients: { type: "string", default: "10" },
    builds: { type: "string" },
    sandbox: { type: "string", default: "process" }
  }
})

const say = (text: string) => process.stderr.write(`bench: ${text}\n`)
const print = (rows: ReadonlyArray<ReadonlyArray<string>>) => process.stdout.write(`${Figures.table(rows)}\n`)

/** The server's own process, which `npm start` has below it. */
const serverOf = (drover: Drover.Drover): number => {
  const server = ProcessTable.familyOf(drover.process.pid).find(({ command }) => command.includes("/src/main.ts\0"))
  if (server === undefined) throw new Error("expected the server's process, found none")
  return server.pid
}

/** KiB that would be free without it. */
const proportionalKib = (pid: number) =>
  Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1])

/** Of what the door offers, what ssh2 can do as a client. */
const kex = "curve25519-sha256"

/** A connection that has logged in, and says nothing more but that it is alive. */
const connect = ({ ready }: Drover.Drover, privateKey: string | Buffer = readFileSync(ready.key)) =>
  new Promise<ssh2.Client>((resolve, reject) => {
    const [host, port] = ready.ssh.split(":")
    const client = new ssh2.Client()
    client.once("ready", () => resolve(client)).on("error", reject)
    client.connect({ host: host!, port: Number(port), username: "nix", privateKey, algorithms: { kex: [kex] } })
  })

/** So many at a time, since each is a key exchange. */
const connectMany = async (count: number, open: () => Promise<ssh2.Client>) => {
  const clients: Array<ssh2.Client> = []
  while (clients.length < count) {
    clients.push(...(await Promise.all(Array.from({ length: Math.min(20, count - clients.length) }, open))))
  }
  return clients
}

/** Collected and settled, so that garbage is not counted as connections. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 10_000))

const idle = async (dir: string, stack: AsyncDisposableStack) => {
  const count = Number(values.connections ?? 1000)
  const drover = await Drover.start(path.join(dir, "drover"))
  stack.defer(async () => void (await drover.stop()))
  const server = serverOf(drover)
  for (const client of await connectMany(50, () => connect(drover))) client.end()
  await settle()
  const before = proportionalKib(server)
  say(`${count} connections`)
  const clients = await connectMany(count, () => connect(drover))
  stack.defer(async () => clients.forEach((client) => client.end()))
  await settle()
  const after = proportionalKib(server)
  print([
    ["idle connections", "server before, KiB", "after, KiB", "each, KiB"],
    [String(count), String(before), String(after), ((after - before) / count).toFixed(1)]
  ])
}

/** The value below which so large a part of them lies. */
const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** Seconds that each of so many builds took that a client had done one after another. */
const buildMany = async (client: Client.Client, builds: number): Promise<ReadonlyArray<number>> => {
  const seconds: Array<number> = []
  for (let build = 0; build < builds; build++) seconds.push(await Client.buildTrivial(client, "ssh-ng", 1))
  return seconds
}

const openClients = async (
  stack: AsyncDisposableStack,
  dir: string,
  subject: Figures.Subject,
  sshConfig: string,
  count: number
) => {
  const clients: Array<Client.Client> = []
  for (let index = 0; index < count; index++) {
    const home = path.join(dir, `client-${subject}-${index}`)
    mkdirSync(home)
    const client = await Client.open(home, subject, sshConfig, new AbortController().signal)
    stack.defer(client.close)
    clients.push(client)
  }
  return clients
}

const clients = async (dir: string, stack: AsyncDisposableStack) => {
  const [count, builds] = [Number(values.clients), Number(values.builds ?? 50)]
  const stock = await StockBuilder.open(path.join(dir, "stock"), new AbortController().signal)
  stack.defer(stock.close)
  const drover = await Drover.start(path.join(dir, "drover"), { arguments: ["--sandbox", values.sandbox] })
  stack.defer(async () => void (await drover.stop()))
  const measured = new Map<Figures.Subject, { readonly total: number; readonly each: ReadonlyArray<number> }>()
  for (const [subject, sshConfig] of [
    ["stock", stock.sshConfig],
    ["drover", drover.sshConfig]
  ] as const) {
    say(`${count} clients with ${builds} builds each, ${subject}`)
    const opened = await openClients(stack, dir, subject, sshConfig, count)
    await Promise.all(opened.map((client) => buildMany(client, 1)))
    const began = performance.now()
    const each = (await Promise.all(opened.map((client) => buildMany(client, builds)))).flat()
    measured.set(subject, { total: (performance.now() - began) / 1000, each })
  }
  const [ours, theirs] = [measured.get("drover")!, measured.get("stock")!]
  const row = (name: string, of: (of: typeof ours) => number) => [
    name,
    of(ours).toFixed(3),
    of(theirs).toFixed(3),
    (of(ours) / of(theirs)).toFixed(2)
  ]
  print([
    [`${count} clients × ${builds} builds, ${values.sandbox}`, "drover", "stock", "ratio"],
    row("builds a second", ({ each, total }) => each.length / total),
    row("p50, s", ({ each }) => quantile(each, 0.5)),
    row("p99, s", ({ each }) => quantile(each, 0.99))
  ])
}

/** Asks and uploads over and over, on as many connections as it is given, until it is told to end. */
const attack = async (dir: string, stack: AsyncDisposableStack) => {
  const [count, builds] = [Number(values.connections ?? 100), Number(values.builds ?? 20)]
  const drover = await Drover.start(path.join(dir, "drover"))
  stack.defer(async () => void (await drover.stop()))
  const key = path.join(dir, "attacker")
  await Process.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
  await drover.command("accounts", "add", "attacker", "--key", `${key}.pub`)
  const [honest] = await openClients(stack, dir, "drover", drover.sshConfig, 1)
  await buildMany(honest!, 3)
  say("an ordinary client, alone")
  const alone = await buildMany(honest!, builds)

  const attackers = path.join(dir, "attackers")
  mkdirSync(attackers)
  const sshConfig = Drover.writeSshConfig(attackers, "drover", {
    address: drover.ready.ssh,
    user: "nix",
    key,
    knownHosts: drover.ready.knownHosts
  })
  const [flood] = await openClients(stack, attackers, "drover", sshConfig, 1)
  const connections = await connectMany(count, () => connect(drover, readFileSync(key)))
  stack.defer(async () => connections.forEach((client) => client.end()))
  let isOver = false
  const overAndOver = async (what: () => Promise<unknown>) => {
    while (!isOver) await what().catch(() => {})
  }
  const attacks = [
    overAndOver(() => Client.buildTrivial(flood!, "ssh-ng", 30)),
    overAndOver(async () =>
      Client.copy(flood!, "ssh-ng", "to", await Client.addLarge(flood!, attackers, 64 * 2 ** 20))
    ),
    ...connections.map((client) =>
      overAndOver(
        () =>
          new Promise<void>((resolve, reject) =>
            client.exec("nix-store --serve --write", (error, channel) => {
              if (error !== undefined) return reject(error)
              channel.on("close", () => resolve()).resume()
              // Garbage, some of it a handshake.
              channel.end(Buffer.alloc(64 * 1024, 0xcc))
            })
          )
      )
    )
  ]
  say(`the same, beside an account with ${count} connections`)
  const beside = await buildMany(honest!, builds)
  isOver = true
  await Promise.all(attacks)
  const row = (name: string, part: number) => [
    name,
    quantile(alone, part).toFixed(3),
    quantile(beside, part).toFixed(3),
    (quantile(beside, part) / quantile(alone, part)).toFixed(2)
  ]
  print([[`${builds} builds, s`, "alone", "under attack", "ratio"], row("p50", 0.5), row("p99", 0.99)])
}

const benches: { readonly [name: string]: typeof idle } = { idle, clients, attack }
const bench = benches[positionals[0] ?? ""]
if (bench === undefined) {
  say(`expected one of ${Object.keys(benches).join(", ")}, found ${JSON.stringify(positionals[0] ?? "")}`)
  process.exitCode = 2
} else {
  await using stack = new AsyncDisposableStack()
  const dir = mkdtempSync(path.join(os.tmpdir(), "drover-load-"))
  chmodSync(dir, 0o755)
  stack.defer(async () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))
  await bench(dir, stack)
}
