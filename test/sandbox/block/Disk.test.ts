import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { Disk } from "../../../src/sandbox/block/Disk.ts"
import * as Erofs from "../../../src/sandbox/block/Erofs.ts"
import { NarFiles } from "../../../src/sandbox/block/NarFiles.ts"
import * as NarImage from "../../../src/sandbox/block/NarImage.ts"
import { SandboxError } from "../../../src/sandbox/SandboxError.ts"
import { pathOf } from "../../support/blockServer.ts"
import * as listed from "../../support/listed.ts"
import * as processes from "../../support/processes.ts"
import { Tree } from "../../support/trees.ts"

/** Every second NAR is a file, the others bytes. */
const diskOf = (trees: ReadonlyArray<Tree>, directory: string, files = new NarFiles()) => {
  const image = Erofs.compose(
    trees.map((tree, index) => {
      const { contents: bytes, listing } = listed.listing(tree)
      const file = path.join(directory, `${index}.nar`)
      if (index % 2 === 0) fs.writeFileSync(file, bytes)
      const contents = index % 2 === 0 ? ({ _tag: "File", path: file } as const) : ({ _tag: "Bytes", bytes } as const)
      return { path: pathOf(index), image: NarImage.compose(listing), contents }
    })
  )
  if (image instanceof SandboxError) throw image
  return new Disk(image, files)
}

const read = (disk: Disk, offset: number, length: number) =>
  Effect.callback<Buffer, Error>((resume) => {
    // Dirty, so that what is not written is seen.
    const bytes = Buffer.alloc(length + 2, 0xaa)
    disk.fill(bytes, 1, { offset, length }, (error) => {
      if (error !== null) return resume(Effect.fail(error))
      assert.deepStrictEqual([bytes[0], bytes[length + 1]], [0xaa, 0xaa], "nothing around it is touched")
      resume(Effect.succeed(bytes.subarray(1, length + 1)))
    })
  })

const file = (contents: string): Tree => ({ _tag: "File", executable: false, contents: Buffer.from(contents) })

describe("Disk", () => {
  it.effect.prop(
    "gives the same however it is read",
    [
      Schema.Array(Tree).check(Schema.isMaxLength(4)),
      Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 500, maximum: 20_000 }))).check(Schema.isMinLength(1))
    ],
    ([trees, lengths]) =>
      Effect.scoped(
        Effect.gen(function* () {
          const disk = diskOf([...trees, file("x".repeat(9000)), file("y")], yield* processes.directory)
          const whole = yield* read(disk, 0, disk.sizeBytes)

          let offset = 0
          for (let index = 0; offset < disk.sizeBytes; index++) {
            const length = Math.min(lengths[index % lengths.length]!, disk.sizeBytes - offset)
            const part = yield* read(disk, offset, length)
            assert.isTrue(part.equals(whole.subarray(offset, offset + length)), `${length} bytes at ${offset}`)
            offset += length
          }
        })
      )
  )

  it.effect("opens more NARs than it keeps open", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const before = fs.readdirSync("/proc/self/fd").length
        const contents = Array.from({ length: 60 }, (_, index) => `contents of ${index}`)
        const disk = diskOf(contents.map(file), yield* processes.directory, new NarFiles(7))

        const reads = [...contents.keys(), ...contents.keys()].map((index) =>
          read(disk, disk.sizeBytes - (contents.length - index) * 4096, 15)
        )
        const found = yield* Effect.all(reads, { concurrency: "unbounded" })

        // In the order of the store paths, which is not that of the trees.
        const all = found.map(String).map((text) => text.replaceAll("\0", ""))
        assert.sameMembers(
          [...new Set(all)],
          contents.map((each) => each.slice(0, 15))
        )
        assert.lengthOf(disk.read, contents.length)
        assert.isAtMost(fs.readdirSync("/proc/self/fd").length, before + 7)
      })
    )
  )
})
