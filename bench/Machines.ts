/**
 * What a virtual machine costs a build: the stages of a trivial one, beside what the stock builder takes for it, and how
 * fast a large output leaves; then what boots.ts and blocks.ts say of its parts.
 *
 * Whichever kind this machine runs by itself is measured, and named; what it costs beside `process` is a matter of the
 * rows that both have.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Drover from "../test/support/Drover.ts"
import * as OtlpReceiver from "../test/support/OtlpReceiver.ts"
import * as Client from "./Client.ts"
import * as Figures from "./Figures.ts"
import * as Process from "../test/support/Process.ts"
import * as StockBuilder from "./StockBuilder.ts"
import * as Stages from "./Stages.ts"

const largeBytes = 256 * 2 ** 20

/** Kinds of sandboxes, in the order in which they take turns. */
const kinds = ["auto", "process"] as const

export const bench = async (rounds: number, say: (text: string) => void, signal: AbortSignal) => {
  await using stack = new AsyncDisposableStack()
  const dir = mkdtempSync(path.join(os.tmpdir(), "drover-bench-"))
  chmodSync(dir, 0o755)
  stack.defer(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))

  let clients = 0
  const open = (subject: Figures.Subject, sshConfig: string) => {
    const home = path.join(dir, `client-${++clients}`)
    mkdirSync(home)
    return Client.open(home, subject, sshConfig, signal)
  }
  const stock = await StockBuilder.open(path.join(dir, "stock"), signal)
  stack.defer(stock.close)
  const stockWaits: Array<number> = []
  for (let round = 0; round <= rounds; round++) {
    say(`stock, a trivial build: ${round === 0 ? "warms up" : `round ${round} of ${rounds}`}`)
    await using client = new AsyncDisposableStack()
    const opened = await open("stock", stock.sshConfig)
    client.defer(opened.close)
    const seconds = await Client.buildTrivial(opened, "ssh-ng", 1)
    if (round > 0) stockWaits.push(seconds)
  }

  for (const kind of kinds) {
    await using kept = new AsyncDisposableStack()
    const receiver = await OtlpReceiver.open()
    kept.defer(receiver.close)
    say(`starts Drover, --sandbox ${kind}`)
    const drover = await Drover.start(path.join(dir, kind), {
      arguments: ["--sandbox", kind],
      environment: {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
        OTEL_METRICS_EXPORTER: "none",
        OTEL_LOGS_EXPORTER: "none",
        OTEL_BSP_SCHEDULE_DELAY: "100"
      },
      signal
    })
    kept.defer(async () => void (await drover.stop()))
    const measure = async (what: string, run: (client: Client.Client) => Promise<number>) => {
      const before = receiver.spans.length
      const waits: Array<number> = []
      // The first is for everything to be loaded, and is not counted.
      for (let round = 0; round <= rounds; round++) {
        say(`${kind}, ${what}: ${round === 0 ? "warms up" : `round ${round} of ${rounds}`}`)
        await using client = new AsyncDisposableStack()
        const opened = await open("drover", drover.sshConfig)
        client.defer(opened.close)
        waits.push(await run(opened))
      }
      const spans = () => receiver.spans.slice(before)
      await receiver.until(() => Stages.answeredOf(spans()).length > rounds)
      const [, ...builds] = Stages.buildsOf(spans())
      const [build] = await drover.builds()
      const name = `${build?.attempts[0]?.sandbox ?? kind}, ${what}, ${rounds} rounds`
      const stages = Stages.breakDown(spans(), builds, waits.slice(1))
      process.stdout.write(`\n${name}\n${Figures.breakdown(stages)}\n`)
      return { stages, waits: waits.slice(1) }
    }

    const trivial = await measure("a trivial build", (client) => Client.buildTrivial(client, "ssh-ng", 1))
    const row = { name: `trivial build, ${kind}`, drover: trivial.waits, stock: stockWaits }
    process.stdout.write(`\n${Figures.comparison([row])}\n`)
    const { stages } = await measure(`an output of ${largeBytes / 2 ** 20} MiB`, (client) =>
      Client.buildLarge(client, "ssh-ng", largeBytes)
    )
    const imported = Figures.summarise(stages.get("import") ?? [])
    if (imported !== null) {
      process.stdout.write(`output rate, median: ${Math.round(largeBytes / 1e6 / imported.median)} MB/s\n`)
    }
  }

  for (const part of ["boots.ts", "blocks.ts"]) {
    say(`bench/${part}`)
    const script = path.join(import.meta.dirname, part)
    process.stdout.write(`\n${await Process.must([process.execPath, script, "--rounds", `${rounds}`], { signal })}\n`)
  }
}
