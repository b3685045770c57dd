/**
 * Records what real programs need, from one version to the next: this project's own compilation, type check and lint, at
 * some of its commits. As root, on a machine with control groups of version 1:
 *
 *   node bench/sizing/record.ts [COMMITS] > bench/sizing/recorded.json
 *
 * Only memory and processor time are taken: how they share out over cores is no good on a machine that does other things.
 */
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Demand, History } from "./Histories.ts"

const project = path.resolve(import.meta.dirname, "../..")
const commits = Number(process.argv[2] ?? 12)

const programs: ReadonlyArray<{ readonly name: string; readonly words: ReadonlyArray<string> }> = [
  { name: "recorded, compiler", words: ["make", "-s", "-C", "executor", "OUT=../made"] },
  { name: "recorded, type check", words: ["node_modules/.bin/tsc", "-p", "."] },
  { name: "recorded, lint", words: ["node_modules/.bin/oxlint", "src", "test"] }
]

const lookMilliseconds = 50

const run = async (directory: string, words: ReadonlyArray<string>): Promise<Demand> => {
  const groups = ["memory", "cpuacct"].map((controller) => `/sys/fs/cgroup/${controller}/drover-record.${process.pid}`)
  for (const group of groups) fs.mkdirSync(group)
  const read = (file: string) => fs.readFileSync(file, "utf8")
  const [memory = "", processor = ""] = groups
  let heldBytes = 0
  const look = setInterval(() => {
    const held = [...read(`${memory}/memory.stat`).matchAll(/^total_(?:rss|shmem) (\d+)$/gm)]
    heldBytes = Math.max(
      heldBytes,
      held.reduce((sum, [, bytes]) => sum + Number(bytes), 0)
    )
  }, lookMilliseconds)
  // The shell enters the groups and becomes the program.
  const enter = groups.map((group) => `echo $$ > ${group}/cgroup.procs;`).join(" ")
  const child = spawn("sh", ["-c", `${enter} exec nice -n 19 "$@"`, "sh", ...words], {
    cwd: directory,
    stdio: ["ignore", "ignore", "ignore"]
  })
  await new Promise((resolve) => child.once("exit", resolve))
  clearInterval(look)
  const peakBytes = Number(read(`${memory}/memory.max_usage_in_bytes`))
  const alone = Number(read(`${processor}/cpuacct.usage`)) / 1e9
  for (const group of groups) fs.rmdirSync(group)
  return { heldBytes, filesBytes: Math.max(0, peakBytes - heldBytes), alone, together: 0, coresMax: 1, heldPerCore: 0 }
}

const git = (...words: ReadonlyArray<string>) => execFileSync("git", ["-C", project, ...words], { encoding: "utf8" })

const all = git("log", "--format=%H", "--reverse", "--", "executor").trim().split("\n")
const chosen = Array.from(
  { length: commits },
  (_, index) => all[Math.floor((index * (all.length - 1)) / (commits - 1))]!
)

const histories: Array<{ readonly name: string; readonly demands: Array<Demand> }> = programs.map(({ name }) => ({
  name,
  demands: []
}))
for (const commit of chosen) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-record-"))
  execFileSync("sh", ["-c", `git -C "$1" archive "$2" | tar -x -C "$3"`, "sh", project, commit, directory])
  fs.symlinkSync(path.join(project, "node_modules"), path.join(directory, "node_modules"))
  for (const [index, { words }] of programs.entries()) histories[index]?.demands.push(await run(directory, words))
  fs.rmSync(directory, { recursive: true })
}
process.stdout.write(`${JSON.stringify(histories satisfies ReadonlyArray<History>, null, 1)}\n`)
