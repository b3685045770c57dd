/**
 * Runs simulations, as many seeds as asked for, and replays one.
 *
 *   npm run simulate -- [--seeds N] [--from N] [--workers N]
 *   npm run simulate -- --seed N
 *   npm run simulate -- --plant NAME|all [--seeds N]
 *
 * Seeds are shared out among as many processes as there are processors. A seed that fails is printed with what was
 * found; replayed alone, it prints what led to it. A planted bug is looked for until a seed finds it, in a copy of the
 * sources. The digest is of all that happened: with the same code and seeds it is the same again.
 */
import * as childProcess from "node:child_process"
import * as os from "node:os"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Plant, plants, within } from "./Plants.ts"
import { type Report, simulate } from "./Simulation.ts"

const { values: options } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    plant: { type: "string" },
    workers: { type: "string", default: String(os.availableParallelism()) },
    /** Told to a process that runs a part of the seeds: every how manieth. */
    stride: { type: "string" }
  }
})

/** Failures printed: the first tell what there is to know. */
const failuresMax = 20

const number = (name: "seeds" | "from" | "workers" | "stride" | "seed") => {
  const text = options[name] ?? ""
  if (!/^\d{1,12}$/.test(text)) throw new Error(`--${name}: expected a whole number, found ${JSON.stringify(text)}`)
  return Number(text)
}

const firstLine = (text = "") => text.split("\n")[0] ?? ""

const replay = (seed: number) => {
  const { complaints, counts, digest, trail, turns, virtualMilliseconds } = simulate(seed)
  for (const line of trail) console.log(line)
  console.log(counts)
  console.log(`seed ${seed}: ${turns} turns, ${virtualMilliseconds / 1000} s of its own time, digest ${digest}`)
  for (const complaint of complaints) console.log(`  ${complaint}`)
  return complaints.length === 0 ? 0 : 1
}

/** What a worker says, a line for each report. */
type Said = Pick<Report, "seed" | "complaints" | "counts" | "digest">

/** A part of the seeds, each report on a line of its own. */
const work = () => {
  const [from, seeds, stride] = [number("from"), number("seeds"), number("stride")]
  for (let seed = from; seed < from + seeds; seed += stride) {
    const { complaints, counts, digest } = simulate(seed)
    process.stdout.write(`${JSON.stringify({ seed, complaints, counts, digest } satisfies Said)}\n`)
  }
  return 0
}

interface Part {
  readonly from: number
  readonly seeds: number
  readonly stride: number
}

/** `hear` says whether it has heard enough. */
const runWorker = (program: string, { from, seeds, stride }: Part, hear: (said: Said) => boolean) =>
  new Promise<void>((resolve, reject) => {
    const words = ["--from", from, "--seeds", seeds, "--stride", stride].map(String)
    const child = childProcess.spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "inherit"] })
    let isEnough = false
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
      // The lines are our own, of this very file.
      if (isEnough || !hear(JSON.parse(line) as Said)) return
      isEnough = true
      child.kill("SIGKILL")
    })
    child.on("error", reject)
    child.on("close", (status) =>
      status === 0 || isEnough ? resolve() : reject(new Error(`expected a worker to end well, found status ${status}`))
    )
  })

const runAll = async () => {
  const [from, seeds, workers] = [number("from"), number("seeds"), number("workers")]
  const begun = performance.now()
  const counts: Record<string, number> = {}
  let failed = 0
  let all = 0
  const hear = ({ complaints, counts: seen, digest, seed }: Said) => {
    // They come in any order.
    all ^= Math.imul(Number.parseInt(digest, 16), 2 * seed + 1)
    for (const [what, count] of Object.entries(seen)) counts[what] = (counts[what] ?? 0) + count
    if (complaints.length > 0 && ++failed <= failuresMax) console.log(`seed ${seed}: ${firstLine(complaints[0])}`)
    return false
  }
  const program = fileURLToPath(import.meta.url)
  await Promise.all(
    Array.from({ length: workers }, (_, index) =>
      runWorker(program, { from: from + index, seeds: seeds - index, stride: workers }, hear)
    )
  )
  const seconds = (performance.now() - begun) / 1000
  const rate = (count: number) => Math.round(count / seconds)
  for (const [what, count] of Object.entries(counts)) console.log(`  ${what}: ${count}`)
  console.log(
    `${seeds} seeds from ${from}, ${failed} failed; ${seconds.toFixed(1)} s with ${workers} workers: ` +
      `${rate(seeds)} seeds, ${rate(counts["BuildEnded"] ?? 0)} builds and ${rate(counts["requests"] ?? 0)} requests a second; digest ${(all >>> 0).toString(16)}`
  )
  if (failed > 0) console.log("npm run simulate -- --seed N replays one")
  return failed === 0 ? 0 : 1
}

/** Whether a seed finds it. */
const find = (plant: Plant) =>
  within(plant, async (directory) => {
    const [from, seeds] = [number("from"), number("seeds")]
    const found: Array<Said> = []
    await runWorker(path.join(directory, "test/simulation/main.ts"), { from, seeds, stride: 1 }, (said) => {
      if (said.complaints.length > 0) found.push(said)
      return found.length > 0
    })
    const [first] = found
    const verdict =
      first === undefined
        ? `not found in ${seeds} seeds`
        : `found by seed ${first.seed}, after ${first.seed - from} others: ${firstLine(first.complaints[0])}`
    console.log(`${plant.name}: ${verdict}`)
    return first !== undefined
  })

const findAll = async (name: string) => {
  const chosen = plants.filter((plant) => name === "all" || plant.name === name)
  if (chosen.length === 0) {
    throw new Error(`--plant: expected all, or one of ${plants.map(({ name }) => name).join(", ")}`)
  }
  let missed = 0
  for (const plant of chosen) if (!(await find(plant))) missed++
  return missed === 0 ? 0 : 1
}

const run = () => {
  if (options.plant !== undefined) return findAll(options.plant)
  if (options.seed !== undefined) return replay(number("seed"))
  return options.stride === undefined ? runAll() : work()
}

process.exitCode = await run()
