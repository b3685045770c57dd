/** npm's packages, exactly as the lockfile has them, Node 24 among them. Their scripts are not run. */
import path from "node:path"
import { existsSync, realpathSync } from "node:fs"
import { run } from "./child.mjs"
import { findProgram, modules, node24, readJson, root, toolEnvironment } from "./place.mjs"
import { refuse } from "./say.mjs"

const lockfile = () => readJson(path.join(root, "package-lock.json"))?.packages ?? {}

/**
 * Whether a package has to be there. An optional one only if it is made for this system and says so; others may belong
 * to one that is not. PostgreSQL's programs want glibc, so we are on no other.
 */
const isNeeded = ({ cpu, libc = ["glibc"], optional = false, os = ["linux"] }) =>
  !optional || (cpu?.includes(process.arch) && libc.includes("glibc") && os.includes("linux"))

/** Whether npm's own record of what it installed, written last, has everything that the lockfile wants here. */
const isInstalled = (dev) => {
  const found = readJson(path.join(modules, ".package-lock.json"))?.packages ?? {}
  const isThere = ([place, wanted]) => found[place]?.version === wanted.version
  const isWanted = ([place, { dev: forDev = false, ...wanted }]) => place !== "" && (dev || !forDev) && isNeeded(wanted)
  return existsSync(node24) && Object.entries(lockfile()).filter(isWanted).every(isThere)
}

/** npm as a command: the one that runs us, on a Node that it does not replace while it works. */
const npm = () => {
  const node = findProgram("node")
  const program = findProgram("npm")
  const cli = [process.env.npm_execpath, program].flatMap((file) =>
    file && existsSync(file) ? [realpathSync(file)] : []
  )
  const script = cli.find((file) => file.endsWith("npm-cli.js"))
  if (node !== null && script !== undefined)
    return [node, "--require", path.join(root, "bootstrap/as-node-24.cjs"), script]
  return program === null ? refuse("expected npm on the PATH, found none") : [program]
}

export const npmPackages = ({ dev }) => ({
  name: dev ? "npm packages, those for development too" : "npm packages",
  isDone: () => isInstalled(dev),
  run: async () => {
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    const version = lockfile()[`node_modules/node-linux-${process.arch}`]?.version
    await run([...npm(), "ci", ...flags, dev ? "--include=dev" : "--omit=dev", "--include=optional"], {
      cwd: root,
      env: toolEnvironment({ DROVER_NODE_VERSION: `v${version}` }),
      log: "npm"
    })
    if (!isInstalled(dev)) {
      const log = path.join(root, "build/log/npm.log")
      refuse(`expected npm to install all that package-lock.json names for linux on ${process.arch}; see ${log}`)
    }
  }
})
