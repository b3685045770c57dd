/** npm's packages, exactly as the lockfile has them, Node 24 among them. Their scripts are not run. */
import path from "node:path"
import { existsSync } from "node:fs"
import { run } from "./child.mjs"
import { findProgram, modules, node24, readJson, root, toolEnvironment } from "./place.mjs"
import { refuse } from "./say.mjs"

/** Whether npm's own record of what it installed, written last, has everything that the lockfile wants of it. */
const isInstalled = (dev) => {
  const wanted = readJson(path.join(root, "package-lock.json"))?.packages ?? {}
  const found = readJson(path.join(modules, ".package-lock.json"))?.packages ?? {}
  return (
    existsSync(node24) &&
    Object.entries(wanted).every(([place, { version, optional, dev: forDev }]) => {
      if (place === "") return true
      const there = found[place]
      // Those for other systems are optional, and rightly not there.
      if (there === undefined) return optional === true || (!dev && forDev === true)
      return there.version === version
    })
  )
}

/** npm as a command: the one that runs us, on a Node that it does not replace while it works. */
const npm = () => {
  const cli = process.env.npm_execpath
  const node = findProgram("node")
  if (cli !== undefined && node !== null && existsSync(cli) && cli.endsWith("npm-cli.js")) return [node, cli]
  const program = findProgram("npm")
  return program === null ? refuse("expected npm on the PATH, found none") : [program]
}

export const npmPackages = ({ dev }) => ({
  name: dev ? "npm packages, those for development too" : "npm packages",
  isDone: () => isInstalled(dev),
  run: async () => {
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    await run([...npm(), "ci", ...flags, dev ? "--include=dev" : "--omit=dev", "--include=optional"], {
      cwd: root,
      env: toolEnvironment(),
      log: "npm"
    })
    if (!isInstalled(dev)) {
      refuse(
        `expected npm to install what package-lock.json names, Node 24 for ${process.arch} included; see build/log/npm.log`
      )
    }
  }
})
