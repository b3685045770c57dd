/** What the process that serves disks does for one of them while it makes another, a large one. */
import { assert, describe, it } from "@effect/vitest"
import * as zlib from "node:zlib"
import { type Listing, printJson } from "../../../src/protocol/nar/Listing.ts"
import { Sha256 } from "../../../src/protocol/nix/Hash.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import type { Answer } from "../../../src/sandbox/block/Control.ts"
import * as Erofs from "../../../src/sandbox/block/Erofs.ts"
import * as NarImage from "../../../src/sandbox/block/NarImage.ts"
import { Server } from "../../../src/sandbox/block/Server.ts"
import type { StoredNar } from "../../../src/sandbox/ClosureSource.ts"

/** A directory with so many files, whose names do not compress to nothing. */
const directory = (files: number): Listing => ({
  type: "directory",
  entries: Object.fromEntries(
    Array.from({ length: files }, (_, index): [string, Listing] => [
      `${((index * 2654435761) % 2 ** 32).toString(36)}-${index}`,
      { type: "regular", size: index % 5000, executable: false, narOffset: 4096 * (index + 1) }
    ])
  )
})

const stored = (disk: number, listing: Uint8Array): StoredNar => ({
  narHash: Sha256.make(`${disk}`.repeat(64)),
  listing,
  contents: { _tag: "File", path: "/nowhere" }
})

/** A server that is asked for a disk of each listing, at once, and what it says until all are answered. */
const answers = (listings: ReadonlyArray<Uint8Array>) =>
  new Promise<ReadonlyArray<Answer>>((resolve) => {
    const said: Array<Answer> = []
    const server = new Server((answer) => {
      if (answer._tag === "Missing") return
      said.push(answer)
      if (said.length === listings.length) resolve(said)
    })
    for (const [index, listing] of listings.entries()) {
      const disk = index + 1
      const nar = stored(disk, listing)
      const path = StorePath.make(`${`${disk}`.repeat(32)}-path`)
      server.receive({ _tag: "Compose", disk, closure: [{ path, narHash: nar.narHash }] }, null)
      server.receive({ _tag: "Add", disk, nars: [nar] }, null)
    }
  })

const packed = (files: number) => zlib.deflateRawSync(printJson(directory(files)))

describe("a server of disks", () => {
  it("makes small disks while it makes a large one", async () => {
    const said = await answers([packed(30_000), packed(10), packed(3)])

    assert.deepStrictEqual(
      said.map((answer) => answer._tag === "Composed" && answer.disk),
      [2, 3, 1]
    )
  })

  it("refuses a large listing that is none, and goes on", async () => {
    const broken = Buffer.alloc(100_000, "no listing")

    const said = await answers([broken, packed(30_000)])

    assert.deepStrictEqual(
      said.map(({ _tag }) => _tag),
      ["Refused", "Composed"]
    )
  })

  it("forgets a large one that nobody waits for any more", async () => {
    const said = await new Promise<ReadonlyArray<Answer>>((resolve) => {
      const all: Array<Answer> = []
      const server = new Server((answer) => {
        all.push(answer)
        if (answer._tag === "Composed") resolve(all)
      })
      const large = stored(1, packed(30_000))
      const ask = (disk: number) => {
        const path = StorePath.make(`${"0".repeat(32)}-path`)
        server.receive({ _tag: "Compose", disk, closure: [{ path, narHash: large.narHash }] }, null)
        server.receive({ _tag: "Add", disk, nars: [large] }, null)
      }
      ask(1)
      server.receive({ _tag: "Forget", disk: 1 }, null)
      ask(2)
    })

    assert.deepStrictEqual(
      said.filter(({ _tag }) => _tag === "Composed").map((answer) => "disk" in answer && answer.disk),
      [2]
    )
  })
})

describe("an image", () => {
  const members = [1000, 1, 30].map((files, index) => ({
    path: StorePath.make(`${`${index}`.repeat(32)}-path`),
    image: NarImage.compose(directory(files))
  }))
  const whole = Erofs.compose(members)

  it.each([1, 7, 64, 5000])("is the same in steps of %i words", (stepWords) => {
    const steps = Erofs.steps(members, stepWords)
    let count = 0
    let next = steps.next()
    for (; next.done !== true; next = steps.next()) count++

    assert.isAtLeast(count, 2)
    assert.deepStrictEqual(next.value, whole)
  })
})
