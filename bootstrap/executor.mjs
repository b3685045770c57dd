/** The C programs of `executor/`, compiled into `build/`. */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import path from "node:path"
import { run } from "./child.mjs"
import { build, root } from "./place.mjs"

const sources = path.join(root, "executor")
const mark = path.join(build, "executor.sha256")

/** Of everything that the programs are made from. Compilers come and go, so without them. */
const hash = () => {
  const sum = createHash("sha256")
  for (const name of readdirSync(sources).sort()) {
    if (/(\.[ch]|^Makefile)$/.test(name)) sum.update(`${name}\0`).update(readFileSync(path.join(sources, name)))
  }
  return sum.digest("hex")
}

export const executor = {
  name: "the executor",
  isDone: () =>
    existsSync(mark) && ["executor", "starter"].every((program) => existsSync(path.join(build, program))) &&
    readFileSync(mark, "utf8") === hash(),
  run: async () => {
    const made = hash()
    // Paths relative to the project: make takes a space in a path for the end of it.
    await run(["make", "-C", "executor", "OUT=../build"], { cwd: root, log: "executor" })
    writeFileSync(mark, made)
  }
}
