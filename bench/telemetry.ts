/**
 * What telemetry costs: processor time of the server per build, with a collector and without, by turns.
 *
 *   node bench/telemetry.ts [--rounds 15] [--builds 40]
 *
 * Two servers run builds as processes, so that nothing else is counted; a real Nix client gives each in turn so many
 * trivial builds at once. With telemetry, traces, metrics and logs are sent to a collector in another process, and a
 * round is over once it has the last span. Every thread of the server's process is counted, its database and its
 * sandboxes are not: they are asked for the same either way.
 */
import { mkdirSync, mkdtempSync, chmodSync, rmSync } from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { parseArgs } from "node:util"
import * as Drover from "../test/support/Drover.ts"
import * as OtlpReceiver from "../test/support/OtlpReceiver.ts"
import * as ProcessTable from "../test/support/ProcessTable.ts"
import * as Client from "./Client.ts"
import * as Figures from "./Figures.ts"
import * as Paired from "./Paired.ts"
import * as Processor from "./Processor.ts"

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "15" }, builds: { type: "string", default: "40" } }
})
const [rounds, builds] = [Number(values.rounds), Number(values.builds)]

/** What the first builds of a server cost is loading and compiling. */
const warmUps = 2

/** What a server does of its own accord within this, it does in either case. */
const settleMilliseconds = 1500

interface Subject {
  readonly client: Client.Client
  readonly server: number
  /** Resolves once everything has been sent of so many more builds. */
  readonly sent: (builds: number) => Promise<void>
}

const open = async (
  stack: AsyncDisposableStack,
  dir: string,
  receiver: OtlpReceiver.OtlpReceiver | null
): Promise<Subject> => {
  mkdirSync(path.join(dir, "client"), { recursive: true })
  const drover = await Drover.start(path.join(dir, "drover"), {
    environment: receiver === null ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint }
  })
  stack.defer(async () => void (await drover.stop()))
  const server = ProcessTable.familyOf(drover.process.pid).find(({ command }) => command.includes("/src/main.ts\0"))
  if (server === undefined) throw new Error("expected the server among the processes that were started, found it not")
  const client = await Client.open(path.join(dir, "client"), "drover", drover.sshConfig, new AbortController().signal)
  stack.defer(client.close)
  let expected = 0
  return {
    client,
    server: server.pid,
    sent: async (builds) => {
      expected += builds
      const arrived = () => receiver?.spans.filter(({ name }) => name === "request").length ?? expected
      await receiver?.until(() => arrived() >= expected)
      await new Promise((resolve) => setTimeout(resolve, settleMilliseconds))
    }
  }
}

/** Milliseconds of processor time per build. */
const measure = async ({ client, sent, server }: Subject): Promise<number> => {
  const before = Processor.seconds(server)
  await Client.buildTrivial(client, "ssh-ng", builds)
  await sent(builds)
  return ((Processor.seconds(server) - before) / builds) * 1000
}

const bench = async (dir: string) => {
  await using stack = new AsyncDisposableStack()
  const receiver = await OtlpReceiver.open()
  stack.defer(receiver.close)
  const subjects = {
    with: await open(stack, path.join(dir, "with"), receiver),
    without: await open(stack, path.join(dir, "without"), null)
  }
  const measured = { with: new Array<number>(), without: new Array<number>() }
  for (let round = -warmUps; round < rounds; round++) {
    process.stderr.write(`telemetry: ${round < 0 ? "warms up" : `round ${round + 1} of ${rounds}`}\n`)
    for (const name of round % 2 === 0 ? (["with", "without"] as const) : (["without", "with"] as const)) {
      const milliseconds = await measure(subjects[name])
      if (round >= 0) measured[name].push(milliseconds)
    }
  }
  return measured
}

const dir = mkdtempSync(path.join(os.tmpdir(), "drover-bench-"))
chmodSync(dir, 0o755)
try {
  const { with: traced, without } = await bench(dir)
  const row = (name: string, milliseconds: ReadonlyArray<number>) => {
    const summary = Figures.summarise(milliseconds)!
    return [name, Paired.mean(milliseconds).toFixed(2), `${summary.min.toFixed(2)}–${summary.max.toFixed(2)}`]
  }
  const { from, mean, to } = Paired.difference(traced, without)
  const base = Paired.mean(without)
  const share = (value: number) => `${((value / base) * 100).toFixed(1)} %`
  process.stdout.write(
    `${Figures.table([["ms of processor time per build", "mean", "min–max"], row("with telemetry", traced), row("without", without)])}\n` +
      `\ndifference ${mean.toFixed(2)} ms, with 95 % confidence from ${from.toFixed(2)} to ${to.toFixed(2)}; ` +
      `of what a build costs, ${share(mean)} (${share(from)} to ${share(to)})\n` +
      `${rounds} pairs of ${builds} trivial builds by ssh-ng, sandbox process, ${os.cpus().length} cores, load ${os.loadavg()[0]?.toFixed(1)}\n`
  )
} finally {
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
}
