import { assert, describe, it } from "@effect/vitest"
import * as zlib from "node:zlib"
import { type Listing, printJson } from "../../../src/protocol/nar/Listing.ts"
import { Learner } from "../../../src/sandbox/block/Learner.ts"
import { learn } from "../../../src/sandbox/block/Learning.ts"
import type { NarImage } from "../../../src/sandbox/block/NarImage.ts"

const file: Listing = { type: "regular", size: 1, executable: false, narOffset: 96 }
const listing = (names: ReadonlyArray<string>) =>
  zlib.deflateRawSync(printJson({ type: "directory", entries: Object.fromEntries(names.map((name) => [name, file])) }))
const small = listing(["one"])
/** Too many names for a small one, of digits that do not compress to nothing. */
const large = listing(Array.from({ length: 10_000 }, (_, index) => `${(index * 2654435761) % 2 ** 32}`))

describe("a learner", () => {
  it("has small listings read at once, while a large one is read elsewhere", async () => {
    const learner = new Learner()
    const told: Array<string> = []

    const learned = new Promise<NarImage | string>((resolve) =>
      learner.learn(large, (image) => {
        told.push("large")
        resolve(image)
      })
    )
    learner.learn(small, () => void told.push("small"))

    assert.deepStrictEqual(told, ["small"])
    assert.deepStrictEqual(await learned, learn(large))
  })

  it("answers each in its turn, whatever is wrong with the one before, and begins again after all", async () => {
    const learner = new Learner()
    const ask = (listing: Uint8Array) =>
      new Promise<string>((resolve) =>
        learner.learn(listing, (image) => resolve(typeof image === "string" ? "wrong" : `${image.inodes}`))
      )

    assert.deepStrictEqual(await Promise.all([large, Buffer.alloc(100_000), large].map(ask)), [
      "10001",
      "wrong",
      "10001"
    ])
    assert.strictEqual(await ask(large), "10001")
  })
})
