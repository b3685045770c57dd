/**
 * Applies a unified diff, strictly: each hunk at the line it names, its context as it says, or not at all.
 *
 * For patches of pinned packages, whose lines are known; so a hunk that does not fit means another version.
 */
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import path from "node:path"
import { refuse } from "./say.mjs"

/** The hunks of a diff by file, named below `root`. The names' first component, `a` or `b`, is diff's own. */
const parse = (diff) => {
  const files = new Map()
  let hunks, hunk
  for (const line of diff.split("\n")) {
    const file = /^\+\+\+ [^/\t]+\/([^\t]+)/.exec(line)
    const start = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line)
    if (file !== null) {
      hunks = []
      files.set(file[1], hunks)
    } else if (line.startsWith("--- ")) {
      hunk = undefined
    } else if (start !== null) {
      hunk = { oldStart: Number(start[1]), before: [], after: [] }
      hunks.push(hunk)
    } else if (hunk !== undefined && line !== "") {
      const text = line.slice(1)
      if (line[0] !== "+") hunk.before.push(text)
      if (line[0] !== "-") hunk.after.push(text)
    }
  }
  return files
}

/** What `text` becomes, or null where a hunk does not fit. */
export const patched = (text, hunks) => {
  const lines = text.split("\n")
  let shift = 0
  for (const { after, before, oldStart } of hunks) {
    const at = oldStart - 1 + shift
    if (before.some((line, index) => lines[at + index] !== line)) return null
    lines.splice(at, before.length, ...after)
    shift += after.length - before.length
  }
  return lines.join("\n")
}

/**
 * Applies the diff to the files under `root`. The first time it keeps each file as it was beside it, and starts from
 * that ever after: so a patch can be applied again, and changed.
 */
export const applyPatch = (diff, root) => {
  for (const [name, hunks] of parse(diff)) {
    const file = path.join(root, name)
    const original = `${file}.original`
    if (!existsSync(original)) copyFileSync(file, original)
    const result = patched(readFileSync(original, "utf8"), hunks)
    if (result === null) refuse(`expected ${file} to be what the patch was made for, found another version`)
    writeFileSync(file, result)
  }
}
