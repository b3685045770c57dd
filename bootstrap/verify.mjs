/**
 * `npm run check`, `npm test` and the longer runs beside them: which tools judge the code, and how their verdicts are
 * added up.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { runInPlace } from "./child.mjs"
import { modules, node24, readJson, root } from "./place.mjs"

const bin = (name) => path.join(modules, ".bin", name)

/** Tools of the packages run on Node 24, whichever started us. */
const env = { PATH: `${path.dirname(node24)}:${process.env.PATH}` }

const tools = [
  ["types", [bin("tsc"), "-p", "."]],
  ["Effect's rules", [bin("effect-tsgo"), "diagnostics", "--project", "tsconfig.json"]],
  ["lint", [bin("oxlint"), "--type-aware", "--deny-warnings"]],
  ["format", [bin("oxfmt"), "--check"]]
]

/** Runs the tools and the tidy test; all of them, so that one reading shows everything. */
export const check = async () => {
  const failed = (await judge()).filter(({ status }) => status !== 0).map(({ name }) => name)
  const tidy = await vitest(["--project", "unit", "test/tidy.test.ts"])
  if (tidy.failed > 0) failed.push("tidy")
  if (failed.length > 0) process.stdout.write(`check: failed: ${failed.join(", ")}\n`)
  return failed.length === 0 ? 0 : 1
}

const judge = async () => {
  const verdicts = []
  for (const [name, argv] of tools) {
    verdicts.push({ name, status: await runInPlace(argv, { cwd: root, env }) })
  }
  return verdicts
}

/** Everything: the tools, the unit tests, then those of the running product; the last line counts them all. */
export const test = async (args) => {
  // Words narrow the tests as vitest has it; the tools then have nothing to say.
  const verdicts = args.length === 0 ? await judge() : []
  const suites = []
  for (const project of ["unit", "e2e"]) suites.push(await vitest(["--project", project, "--passWithNoTests", ...args]))
  const bad = verdicts.filter(({ status }) => status !== 0)
  for (const name of [...bad.map(({ name }) => name), ...suites.flatMap(({ told }) => told)])
    process.stdout.write(`failed: ${name}\n`)
  const passed = verdicts.length - bad.length + sum(suites, "passed")
  const failed = bad.length + sum(suites, "failed")
  process.stdout.write(`${passed} passed, ${failed} failed\n`)
  return failed === 0 && passed > 0 ? 0 : 1
}

const sum = (suites, key) => suites.reduce((total, suite) => total + suite[key], 0)

/**
 * Runs a vitest project; gives how many tests passed and failed, and what is told of those that failed: once more at the
 * end, since what came before is long. A run that breaks down counts as one failure more.
 */
const vitest = async (args) => {
  const dir = mkdtempSync(path.join(tmpdir(), "drover-test-"))
  try {
    const file = path.join(dir, "report.json")
    const argv = [bin("vitest"), "run", "--reporter=default", "--reporter=json", `--outputFile.json=${file}`, ...args]
    const status = await runInPlace(argv, { cwd: root, env })
    const report = readJson(file)
    const passed = report?.numPassedTests ?? 0
    const failed = report?.numFailedTests ?? 0
    // Vitest also fails over a file that does not load or an error outside of any test.
    return { passed, failed: failed === 0 && status !== 0 ? 1 : failed, told: failures(report) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** The tests and files that failed, each with the beginning of its reason. */
const failures = (report) => {
  const told = []
  for (const file of report?.testResults ?? []) {
    const where = path.relative(root, file.name)
    const bad = file.assertionResults.filter(({ status }) => status === "failed")
    if (bad.length === 0 && file.status === "failed") told.push(`${where}: ${reason(file.message)}`)
    for (const { fullName, failureMessages } of bad)
      told.push(`${where}: ${fullName}: ${reason(failureMessages.join("\n"))}`)
  }
  return told
}

/** Lines of a reason that are worth repeating. */
const reasonLines = 12

const reason = (message) => (message ?? "").split("\n").slice(0, reasonLines).join("\n  ")

/** A program of ours that is no test of its own, with the words that it was given. */
const program = (file) => (args) => runInPlace([node24, path.join(root, file), ...args], { cwd: root })

export const mishaps = program("test/mishaps/main.ts")
export const programs = program("test/programs/main.ts")
export const simulate = program("test/simulation/main.ts")
export const kills = program("test/kills/main.ts")
export const bench = program("bench/main.ts")
