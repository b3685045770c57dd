import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { Reader } from "../../../src/protocol/nar/Reader.ts"
import { TreeWriter } from "../../../src/storage/tree/TreeWriter.ts"
import { cut, narOf } from "../../support/nar.ts"

const inDirectory = (test: (directory: string) => void) => () => {
  const directory = fs.mkdtempSync("/tmp/drover-test-tree-")
  try {
    test(directory)
  } finally {
    fs.chmodSync(directory, 0o700)
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

/** The writer's own guard: the reader would not let such names pass. */
describe("TreeWriter", () => {
  it(
    "follows no symlink that came before",
    inDirectory((directory) => {
      const outside = path.join(directory, "outside")
      fs.mkdirSync(outside)
      const writer = new TreeWriter(path.join(directory, "tree"))
      writer.directory(null)
      writer.symlink(Buffer.from("a"), Buffer.from(outside))
      writer.symlink(Buffer.from("b"), Buffer.from(path.join(outside, "made")))

      assert.throws(() => writer.directory(Buffer.from("a")), /EEXIST/)
      assert.throws(() => writer.file(Buffer.from("b"), { executable: false, size: 1, narOffset: 0 }), /EEXIST/)
      assert.deepStrictEqual(fs.readdirSync(outside), [])
      writer.close()
    })
  )

  it(
    "writes nothing over what is there",
    inDirectory((directory) => {
      const there = path.join(directory, "there")
      fs.writeFileSync(there, "mine")
      const writer = new TreeWriter(there)

      assert.throws(() => new Reader(writer).push(narOf("theirs")), /EEXIST/)
      assert.strictEqual(fs.readFileSync(there, "utf8"), "mine")
    })
  )

  for (const chunk of [1, 7, 777]) {
    it(
      `writes the same from chunks of ${chunk} bytes`,
      inDirectory((directory) => {
        const root = path.join(directory, "tree")
        const contents = Buffer.alloc(10_000, "contents")
        const reader = new Reader(new TreeWriter(root))
        for (const part of cut(narOf({ entries: { file: contents } }), chunk)) reader.push(part)

        assert.isTrue(contents.equals(fs.readFileSync(path.join(root, "file"))))
        fs.chmodSync(root, 0o700)
      })
    )
  }
})
