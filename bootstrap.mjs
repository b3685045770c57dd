/**
 * What `npm start`, `npm test` and the other scripts run: brings what is missing, then starts what was asked for.
 *
 *   node bootstrap.mjs start|test|mishaps|programs|simulate|kills|check|bench|drover [--no-install] [ARGUMENT]…
 *
 * Plain JavaScript without dependencies, since it runs before any are there and on whichever Node the system has,
 * 18 or newer. What it sets up, it sets up once: each step knows by looking whether it is done. It asks nothing, and
 * it starts and changes no service of the machine.
 */
import { readFileSync } from "node:fs"
import path from "node:path"
import { node24, root } from "./bootstrap/place.mjs"
import { refuse, Refusal } from "./bootstrap/say.mjs"
import { runInPlace, serve } from "./bootstrap/child.mjs"
import { setUp } from "./bootstrap/steps.mjs"
import { bench, check, kills, mishaps, programs, simulate, test } from "./bootstrap/verify.mjs"

/** Said here, where the last word counts, or in the environment; who says it in a file has the machines set up all the same. */
const wantsMachines = (args) => {
  const said = args.flatMap((word, at) => {
    if (word.startsWith("--sandbox=")) return [word.slice("--sandbox=".length)]
    return word === "--sandbox" ? [args[at + 1]] : []
  })
  return (said.at(-1) ?? process.env.DROVER_SANDBOX) !== "process"
}

/** Runs once everything is there that `purpose` needs. */
const after = (purpose, run) => async (args, install) => {
  await setUp(purpose, install)
  return run(args)
}

const commands = {
  /** The server. Its options are its own, and shown without setting anything up. */
  async start(args, install) {
    if (args.includes("--help")) {
      process.stdout.write(readFileSync(path.join(root, "docs/operating/options.txt"), "utf8"))
      return 0
    }
    await setUp(wantsMachines(args) ? "start" : "process", install)
    return serve([node24, path.join(root, "src/cli/start.ts"), ...args])
  },

  /** The operator's commands against a running server, which has set up what they need. */
  drover: (args) => runInPlace([node24, path.join(root, "src/cli/drover.ts"), ...args]),

  check: after("check", check),
  test: after("test", test),
  mishaps: after("test", mishaps),
  simulate: after("check", simulate),
  kills: after("test", kills),
  programs: after("programs", programs),
  bench: after("bench", bench)
}

const [name, ...rest] = process.argv.slice(2)
const install = !rest.includes("--no-install")
try {
  if (!Object.hasOwn(commands, name ?? "")) {
    refuse(`expected one of ${Object.keys(commands).join(", ")}, found ${JSON.stringify(name ?? "")}`)
  }
  process.exitCode = await commands[name](
    rest.filter((word) => word !== "--no-install"),
    install
  )
} catch (error) {
  // Anything else is a bug here, and its stack is what its reader needs.
  if (!(error instanceof Refusal)) throw error
  process.stderr.write(`drover: ${error.message}\n`)
  process.exitCode = error.status
}
