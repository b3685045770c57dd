/**
 * Drover against the stock remote builder: the same client asks both for the same, in turn, in one run.
 *
 *   npm run bench -- [--quick] [--json FILE] [--only REGEX] [--rounds N]
 *   npm run bench -- --machines [--rounds N]
 *
 * Every round has a seed of its own, so nothing is answered from an earlier one, and who goes first changes from round
 * to round. What is printed is read with `docs/operating/bench.md`. Whatever is started here is ended here.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Drover from "../test/support/Drover.ts"
import * as OtlpReceiver from "../test/support/OtlpReceiver.ts"
import * as Process from "../test/support/Process.ts"
import * as Client from "./Client.ts"
import * as Figures from "./Figures.ts"
import * as Machines from "./Machines.ts"
import * as Stages from "./Stages.ts"
import * as StockBuilder from "./StockBuilder.ts"

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    only: { type: "string", default: "" },
    rounds: { type: "string" },
    machines: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})

const help = `npm run bench -- [options]
  --quick        smaller copies and fewer rounds, for a machine that only wants to know whether it still works
  --json FILE    everything that was measured, as JSON
  --only REGEX   the rows whose name matches
  --rounds N     of each, whatever it is
  --machines     builds in virtual machines instead, as this machine runs them
  --help
`

const MiB = 2 ** 20
const subjects: ReadonlyArray<Figures.Subject> = ["drover", "stock"]

/** What one round of a measurement does, for one subject; several rows can come of it. */
type Round = (client: Client.Client, another: () => Promise<Client.Client>) => Promise<Readonly<Record<string, number>>>

interface Measurement {
  readonly rows: ReadonlyArray<string>
  readonly rounds: number
  readonly run: Round
}

const measurements = (dir: string): ReadonlyArray<Measurement> => {
  const { quick } = options
  const bytes = (quick ? 128 : 1024) * MiB
  const paths = quick ? 200 : 2000
  const builds = 50

  const trivial = (scheme: Client.Scheme): Measurement => {
    const row = `trivial build, ${scheme}`
    const run: Round = async (client) => ({ [row]: await Client.buildTrivial(client, scheme, 1) })
    return { rows: [row], rounds: quick ? 5 : 15, run }
  }
  const many = (scheme: Client.Scheme): Measurement => {
    const row = `${builds} trivial builds, ${scheme}`
    const run: Round = async (client) => ({ [row]: await Client.buildTrivial(client, scheme, builds) })
    return { rows: [row], rounds: quick ? 1 : 5, run }
  }
  const copies = (
    what: string,
    scheme: Client.Scheme,
    add: (client: Client.Client) => Promise<ReadonlyArray<string>>
  ): Measurement => {
    const [up, down] = [`nix copy of ${what}, ${scheme}, up`, `nix copy of ${what}, ${scheme}, down`]
    const run: Round = async (client, another) => {
      const added = await add(client)
      // What the file system still owes for the new paths is not the copy's doing.
      await Process.must(["sync"])
      const there = await Client.copy(client, scheme, "to", added)
      await Process.must(["sync"])
      return { [up]: there, [down]: await Client.copy(await another(), scheme, "from", added) }
    }
    return { rows: [up, down], rounds: quick ? 2 : 5, run }
  }
  const large = (client: Client.Client) => Client.addLarge(client, dir, bytes)
  const small = (client: Client.Client) => Client.addSmall(client, dir, paths)
  return [
    trivial("ssh"),
    trivial("ssh-ng"),
    many("ssh"),
    many("ssh-ng"),
    copies(`${bytes / MiB} MiB`, "ssh-ng", large),
    copies(`${paths} small paths`, "ssh-ng", small),
    // One by one, where `ssh-ng` takes them together.
    copies(`${paths} small paths`, "ssh", small)
  ]
}

const say = (text: string) => process.stderr.write(`bench: ${text}\n`)

const bench = async (signal: AbortSignal) => {
  await using stack = new AsyncDisposableStack()
  const dir = mkdtempSync(path.join(os.tmpdir(), "drover-bench-"))
  chmodSync(dir, 0o755)
  stack.defer(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))

  const receiver = await OtlpReceiver.open()
  stack.defer(receiver.close)
  say("starts the stock builder")
  const stock = await StockBuilder.open(path.join(dir, "stock"), signal)
  stack.defer(stock.close)
  say("starts Drover")
  const drover = await Drover.start(path.join(dir, "drover"), {
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_METRICS_EXPORTER: "none",
      OTEL_LOGS_EXPORTER: "none",
      OTEL_BSP_SCHEDULE_DELAY: "100"
    },
    signal
  })
  stack.defer(async () => void (await drover.stop()))

  const configs = { drover: drover.sshConfig, stock: stock.sshConfig }
  let clients = 0
  const openClient = (subject: Figures.Subject) => {
    const home = path.join(dir, `client-${++clients}`)
    mkdirSync(home)
    return Client.open(home, subject, configs[subject], signal)
  }

  const rows: Array<Figures.Row> = []
  const stages = new Map<string, ReadonlyMap<string, ReadonlyArray<number>>>()
  const only = new RegExp(options.only)
  for (const { rounds, rows: names, run } of measurements(dir)) {
    if (!names.some((name) => only.test(name))) continue
    const measured = new Map(names.map((name) => [name, { drover: new Array<number>(), stock: new Array<number>() }]))
    const tracesBefore = receiver.spans.length
    const count = options.rounds === undefined ? rounds : Number(options.rounds)
    // The first round is for both to get ready, and is not counted: what is loaded once is not what builds cost.
    for (let round = 0; round <= count; round++) {
      say(`${names[0]}: ${round === 0 ? "warms up" : `round ${round} of ${count}`}`)
      for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
        await using opened = new AsyncDisposableStack()
        const another = async () => {
          const client = await openClient(subject)
          opened.defer(client.close)
          return client
        }
        const seconds = await run(await another(), another)
        for (const [name, value] of Object.entries(seconds)) {
          if (round > 0) measured.get(name)?.[subject].push(value)
        }
      }
    }
    for (const [name, { drover, stock }] of measured) {
      rows.push({ name, drover, stock })
      if (!name.startsWith("trivial build")) continue
      // Spans are sent a little after the build that they are of, the first of which is the warm-up's.
      const spans = () => receiver.spans.slice(tracesBefore)
      await Promise.race([
        receiver.until(() => Stages.answeredOf(spans()).length > drover.length),
        new Promise((resolve) => setTimeout(resolve, 5000).unref())
      ])
      const [, ...builds] = Stages.buildsOf(spans())
      stages.set(name, Stages.breakDown(spans(), builds, drover))
    }
  }

  process.stdout.write(`${Figures.comparison(rows)}\n`)
  for (const [name, breakdown] of stages) {
    process.stdout.write(`\nwhere a ${name} goes\n${Figures.breakdown(breakdown)}\n`)
  }
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify(report(rows, stages, stock.versions), null, 2)}\n`)
}

const report = (
  rows: ReadonlyArray<Figures.Row>,
  stages: ReadonlyMap<string, ReadonlyMap<string, ReadonlyArray<number>>>,
  versions: object
) => ({
  at: new Date().toISOString(),
  quick: options.quick,
  machine: {
    processors: os.cpus().map(({ model }) => model),
    memoryBytes: os.totalmem(),
    kernel: os.release(),
    load: os.loadavg()
  },
  versions: { ...versions, node: process.version },
  rows: rows.map((row) => ({
    ...row,
    unit: "s",
    droverSummary: Figures.summarise(row.drover),
    stockSummary: Figures.summarise(row.stock),
    ratio: Figures.ratio(row)
  })),
  stages: Object.fromEntries([...stages].map(([name, breakdown]) => [name, Object.fromEntries(breakdown)]))
})

if (options.help) {
  process.stdout.write(help)
} else {
  const interrupted = new AbortController()
  for (const [signal, status] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) {
    process.on(signal, () => {
      if (interrupted.signal.aborted) return
      say(`${signal}: ends what it started`)
      process.exitCode = status
      interrupted.abort()
    })
  }
  try {
    await (options.machines
      ? Machines.bench(Number(options.rounds ?? 10), say, interrupted.signal)
      : bench(interrupted.signal))
  } catch (error) {
    // Given up, whatever was being measured fails.
    if (!interrupted.signal.aborted) throw error
  }
}
