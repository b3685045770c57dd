/** Two set-ups at once would tear at the same files: the second waits until the first is through, or gone. */
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { refuse, say } from "./say.mjs"

const isAlive = (pid) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === "EPERM"
  }
}

/** Makes the file with who holds it in it, at once: found empty, it would be taken for that of nobody alive. */
const claim = (file) => {
  const own = `${file}.${process.pid}`
  try {
    writeFileSync(own, String(process.pid))
    linkSync(own, file)
    return true
  } catch (error) {
    if (error.code === "EACCES")
      refuse(`expected to be able to write ${path.dirname(file)}; it belongs to another user`)
    if (error.code !== "EEXIST") throw error
    return false
  } finally {
    rmSync(own, { force: true })
  }
}

/** Gives a way to release it, once nobody else has it who is alive. */
export const lock = async (directory, waitMilliseconds = 200) => {
  mkdirSync(directory, { recursive: true })
  const file = path.join(directory, "setup.lock")
  for (let told = false; ; told = true) {
    if (claim(file)) return () => rmSync(file, { force: true })
    const held = readHolder(file)
    // Given back just now, and perhaps another's by the time that we would remove it.
    if (held === null) continue
    const holder = Number(held)
    if (!(holder > 0) || !isAlive(holder)) {
      rmSync(file, { force: true })
      continue
    }
    if (!told) say(`waiting for the set-up that process ${holder} is at`)
    await new Promise((resolve) => setTimeout(resolve, waitMilliseconds))
  }
}

const readHolder = (file) => {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    if (error.code !== "ENOENT") throw error
    return null
  }
}
