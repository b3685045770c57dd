/** Patches fit exactly, or are refused; and can be applied again. */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

// The bootstrap is plain JavaScript, and so has no types to import.
const module: string = "../../bootstrap/patch.mjs"
const { applyPatch }: { readonly applyPatch: (diff: string, root: string) => void } = await import(module)

const lines = (count: number) => Array.from({ length: count }, (_, index) => `line ${index}`)

/** A project of one file, and a diff of it that diff made. */
const project = (use: (root: string, diff: (changed: ReadonlyArray<string>) => string) => void) => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "drover-patch-"))
  try {
    for (const side of ["a", "b"]) fs.mkdirSync(path.join(root, side))
    fs.writeFileSync(path.join(root, "a/file"), `${lines(60).join("\n")}\n`)
    fs.copyFileSync(path.join(root, "a/file"), path.join(root, "file"))
    use(root, (changed) => {
      fs.writeFileSync(path.join(root, "b/file"), `${changed.join("\n")}\n`)
      return execFileSync("sh", ["-c", "diff -u a/file b/file || true"], { cwd: root, encoding: "utf8" })
    })
  } finally {
    fs.rmSync(root, { recursive: true })
  }
}

const read = (root: string, file = "file") => fs.readFileSync(path.join(root, file), "utf8")

describe("a patch", () => {
  it("does what diff saw, in several places", () => {
    project((root, diff) => {
      const changed = lines(60).toSpliced(50, 1, "fifty", "and more").toSpliced(20, 2).toSpliced(3, 0, "new")
      const made = diff(changed)

      applyPatch(made, root)

      assert.strictEqual(read(root), read(root, "b/file"))
    })
  })

  it("changes nothing the second time, and can be replaced by another", () => {
    project((root, diff) => {
      const first = diff(lines(60).toSpliced(3, 0, "new"))
      applyPatch(first, root)
      applyPatch(first, root)

      applyPatch(diff(lines(60).toSpliced(30, 1)), root)

      assert.strictEqual(read(root), read(root, "b/file"))
    })
  })

  it("is refused where it was not made for what is there", () => {
    project((root, diff) => {
      const made = diff(lines(60).toSpliced(30, 1, "thirty"))
      fs.writeFileSync(path.join(root, "file"), `first\n${lines(60).join("\n")}\n`)

      assert.throws(() => applyPatch(made, root), /another version/)
    })
  })
})

describe("our patches", () => {
  it("say which files they are of, and why", () => {
    for (const name of fs.readdirSync("patches")) {
      assert.match(fs.readFileSync(path.join("patches", name), "utf8"), /^--- a\/node_modules\/ssh2\//m)
    }
  })
})
