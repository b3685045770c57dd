/**
 * Runs simulations, as many seeds as asked for, and replays one.
 *
 *   npm run simulate -- [--seeds N] [--from N] [--workers N]
 *   npm run simulate -- --seed N
 *
 * Seeds are shared out among as many processes as there are processors. A seed that fails is printed with what was
 * found; replayed alone, it prints what led to it.
 */
import * as childProcess from "node:child_process"
import * as os from "node:os"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Report, simulate } from "./Simulation.ts"

const { values: options } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    workers: { type: "string", default: String(os.availableParallelism()) },
    /** Told to a process that runs a part of the seeds: every how manieth. */
    stride: { type: "string" }
  }
})

/** Failures printed: the first tell what there is to know. */
const failuresMax = 20

/** What a worker says, a line for each report. */
type Said = Pick<Report, "seed" | "complaints" | "counts">

const number = (name: "seeds" | "from" | "workers" | "stride" | "seed") => {
  const text = options[name] ?? ""
  if (!/^\d{1,12}$/.test(text)) throw new Error(`--${name}: expected a whole number, found ${JSON.stringify(text)}`)
  return Number(text)
}

const replay = (seed: number) => {
  const { complaints, counts, trail, turns, virtualMilliseconds } = simulate(seed)
  for (const line of trail) console.log(line)
  console.log(counts)
  console.log(`seed ${seed}: ${turns} turns, ${virtualMilliseconds / 1000} s of its own time`)
  for (const complaint of complaints) console.log(`  ${complaint}`)
  return complaints.length === 0 ? 0 : 1
}

/** A part of the seeds, each report on a line of its own. */
const work = () => {
  const [from, seeds, stride] = [number("from"), number("seeds"), number("stride")]
  const last = from + seeds
  for (let seed = from; seed < last; seed += stride) {
    const { complaints, counts } = simulate(seed)
    process.stdout.write(`${JSON.stringify({ seed, complaints, counts } satisfies Said)}\n`)
  }
  return 0
}

const runWorker = (from: number, seeds: number, stride: number, hear: (said: Said) => void) =>
  new Promise<void>((resolve, reject) => {
    const words = ["--from", from, "--seeds", seeds, "--stride", stride].map(String)
    const child = childProcess.spawn(process.execPath, [fileURLToPath(import.meta.url), ...words], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    // The lines are our own, of this very file.
    readline.createInterface({ input: child.stdout }).on("line", (line) => hear(JSON.parse(line) as Said))
    child.on("error", reject)
    child.on("close", (status) =>
      status === 0 ? resolve() : reject(new Error(`expected a worker to end well, found status ${status}`))
    )
  })

const runAll = async () => {
  const [from, seeds, workers] = [number("from"), number("seeds"), number("workers")]
  const begun = performance.now()
  const counts: Record<string, number> = {}
  let failed = 0
  const hear = ({ complaints, counts: seen, seed }: Said) => {
    for (const [what, count] of Object.entries(seen)) counts[what] = (counts[what] ?? 0) + count
    if (complaints.length === 0) return
    failed++
    if (failed <= failuresMax) console.log(`seed ${seed}: ${complaints[0]?.split("\n")[0]}`)
  }
  await Promise.all(
    Array.from({ length: workers }, (_, index) => runWorker(from + index, seeds - index, workers, hear))
  )
  const seconds = (performance.now() - begun) / 1000
  const rate = (count: number) => Math.round(count / seconds)
  console.log(
    Object.entries(counts)
      .map(([what, count]) => `  ${what}: ${count}\n`)
      .join("")
  )
  console.log(
    `${seeds} seeds from ${from}, ${failed} failed; ${seconds.toFixed(1)} s with ${workers} workers: ` +
      `${rate(seeds)} seeds, ${rate(counts["BuildEnded"] ?? 0)} builds and ${rate(counts["requests"] ?? 0)} requests a second`
  )
  if (failed > 0) console.log("npm run simulate -- --seed N replays one")
  return failed === 0 ? 0 : 1
}

process.exitCode =
  options.seed !== undefined ? replay(number("seed")) : options.stride !== undefined ? work() : await runAll()
