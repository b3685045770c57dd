/** The C programs of `executor/`, compiled into `build/`. */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import path from "node:path"
import { run } from "./child.mjs"
import { build, root } from "./place.mjs"

const sources = path.join(root, "executor")

/** Those with a folder of their own. */
const directories = ["launcher", "starter"]

const mark = path.join(build, "executor.sha256")

/** Of everything that the programs are made from. Compilers come and go, so without them. */
export const sourceHash = () => {
  const sum = createHash("sha256")
  const files = ["", ...directories].flatMap((dir) =>
    readdirSync(path.join(sources, dir)).map((name) => path.join(dir, name))
  )
  // Code units: the same order wherever it is built.
  for (const name of files.sort((one, other) => (one < other ? -1 : 1))) {
    if (/\.[ch]$|^Makefile$/.test(name)) sum.update(`${name}\0`).update(readFileSync(path.join(sources, name)))
  }
  return sum.digest("hex")
}

export const executor = {
  name: "the executor",
  isDone: () =>
    existsSync(mark) &&
    ["executor", ...directories].every((program) => existsSync(path.join(build, program))) &&
    readFileSync(mark, "utf8") === sourceHash(),
  run: async () => {
    const made = sourceHash()
    // Paths relative to the project: make takes a space in a path for the end of it.
    await run(["make", "-C", "executor", "OUT=../build"], { cwd: root, log: "executor" })
    writeFileSync(mark, made)
  }
}
