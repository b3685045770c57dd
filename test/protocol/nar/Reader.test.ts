import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Grammar from "../../../src/protocol/nar/Grammar.ts"
import { Lister, type Listing } from "../../../src/protocol/nar/Listing.ts"
import { Reader, type Visitor } from "../../../src/protocol/nar/Reader.ts"
import { WireError } from "../../../src/protocol/wire/Codec.ts"
import * as goldens from "../../golden/nar/trees.ts"
import { refusedBy } from "../../support/parsed.ts"
import { encode, Tree } from "../../support/trees.ts"

const text = (bytes: Uint8Array | null) => (bytes === null ? "/" : Buffer.from(bytes).toString("latin1"))

/** Tells what it is told, with contents joined. */
class Recorder implements Visitor {
  readonly events: Array<string> = []
  #contents: Array<Uint8Array> = []

  directory(name: Uint8Array | null) {
    this.events.push(`directory ${text(name)}`)
  }
  directoryEnd() {
    this.events.push("end")
  }
  file(name: Uint8Array | null, file: { executable: boolean; size: number; narOffset: number }) {
    this.events.push(`file ${text(name)} ${JSON.stringify(file)}`)
  }
  contents(chunk: Uint8Array) {
    assert.isAbove(chunk.length, 0)
    this.#contents.push(new Uint8Array(chunk))
  }
  fileEnd() {
    this.events.push(`contents ${Buffer.concat(this.#contents).toString("hex")}`)
    this.#contents = []
  }
  symlink(name: Uint8Array | null, target: Uint8Array) {
    this.events.push(`symlink ${text(name)} ${text(target)}`)
  }
}

/** Reads in chunks that are lent in one buffer, overwritten after each. */
const read = (nar: Uint8Array, chunkSize: number): ReadonlyArray<string> => {
  const recorder = new Recorder()
  const reader = new Reader(recorder)
  const lent = Buffer.alloc(chunkSize)
  for (let offset = 0; offset < nar.length; offset += chunkSize) {
    const chunk = nar.subarray(offset, offset + chunkSize)
    lent.set(chunk)
    assert.strictEqual(reader.push(lent.subarray(0, chunk.length)), chunk.length)
    lent.fill(0xff)
  }
  reader.end()
  assert.strictEqual(reader.size, nar.length)
  return recorder.events
}

const nar = (...words: ReadonlyArray<string | Uint8Array>) => Buffer.concat([Grammar.magic, ...words].map(Grammar.word))
const file = ["(", "type", "regular", "contents", "", ")"]
const entry = (name: string | Uint8Array, ...node: ReadonlyArray<string | Uint8Array>) => [
  "entry",
  "(",
  "name",
  name,
  "node",
  ...node,
  ")"
]
const directory = (...entries: ReadonlyArray<ReadonlyArray<string | Uint8Array>>) => [
  "(",
  "type",
  "directory",
  ...entries.flat(),
  ")"
]
const nested = (depth: number): Uint8Array =>
  nar(
    ...Array.from({ length: depth - 1 }, () => ["(", "type", "directory", "entry", "(", "name", "d", "node"]).flat(),
    "(",
    "type",
    "directory",
    ")",
    ...Array.from({ length: depth - 1 }, () => [")", ")"]).flat()
  )

const pushed = (bytes: Uint8Array) => {
  const reader = new Reader()
  const taken = reader.push(bytes)
  reader.end()
  return taken
}

describe("a NAR reader", () => {
  const golden = Buffer.from(goldens.tree.nar, "base64")

  it("tells what is in a tree that Nix 2.8.0 wrote", () => {
    const events = read(golden, 65_536)

    assert.include(events, "symlink link ../nowhere")
    assert.include(events, "contents 736576656e2062")
    assert.deepStrictEqual(
      events.filter((event) => event.startsWith("file run")),
      ['file run {"executable":true,"size":10,"narOffset":2792}']
    )
    assert.strictEqual(events.filter((event) => event.startsWith("file")).length, 12)
  })

  it("tells names and targets that are not UTF-8 as the bytes they are", () => {
    const events = read(Buffer.from(goldens.latin.nar, "base64"), 777)

    assert.strictEqual(events[1], "symlink link t\xff")
    assert.isTrue(events[4]?.startsWith("file l\xe4tin "))
  })

  for (const size of [1, 7, 777]) {
    it(`tells the same in chunks of ${size} bytes`, () => {
      assert.deepStrictEqual(read(golden, size), read(golden, 65_536))
    })
  }

  it.prop(
    "tells the same in chunks of any size",
    [Tree, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 99 }))],
    ([tree, size]) => {
      const bytes = encode(tree)
      assert.deepStrictEqual(read(bytes, size), read(bytes, bytes.length))
    }
  )

  it("leaves what follows the NAR", () => {
    const reader = new Reader()

    assert.strictEqual(reader.push(Buffer.concat([golden, Buffer.from("more")])), golden.length)
    assert.isTrue(reader.done)
    assert.strictEqual(reader.push(Buffer.from("more")), 0)
    assert.strictEqual(reader.size, golden.length)
  })

  it.prop("refuses every proper prefix", [Tree], ([tree]) => {
    const bytes = encode(tree)
    const reader = new Reader()
    for (let offset = 0; offset < bytes.length; offset += 8) {
      assert.include(
        refusedBy(() => reader.end()),
        "the rest of a NAR"
      )
      reader.push(bytes.subarray(offset, offset + 8))
    }
    reader.end()
  })

  it("refuses or reads every NAR in which a byte was changed, and fails in no other way", () => {
    for (let index = 0; index < golden.length; index++) {
      for (const change of [0x01, 0x20, 0x80, 0xff]) {
        const changed = Buffer.from(golden)
        changed[index] = (changed[index] ?? 0) ^ change
        try {
          pushed(changed)
        } catch (error) {
          assert.instanceOf(error, WireError)
        }
      }
    }
  })

  const hostile: Record<string, readonly [nar: Uint8Array, expected: string]> = {
    "another magic": [Grammar.word("nix-archive-2"), '"nix-archive-1"'],
    "a length that is no keyword's": [Buffer.from("ffffffffffffffff", "hex"), "magic of at most 13 bytes"],
    "an unknown type": [nar("(", "type", "fifo", ")"), '"directory"'],
    "a file without contents": [nar("(", "type", "regular", ")"), '"contents"'],
    "an executable file that says how": [nar("(", "type", "regular", "executable", "1", "contents", "", ")"), '""'],
    "executable said after the contents": [nar("(", "type", "regular", "contents", "", "executable", "", ")"), '")"'],
    "contents twice": [nar("(", "type", "regular", "contents", "", "contents", "", ")"), '")"'],
    "contents longer than a number": [
      Buffer.concat([nar("(", "type", "regular", "contents"), Buffer.from("0000000000002000", "hex")]),
      "contents' bytes of at most"
    ],
    "padding that is not zero after a word": [
      Buffer.concat([nar(), Buffer.from("010000000000000028000000000000ff", "hex")]),
      "zero padding"
    ],
    "padding that is not zero after contents": [
      Buffer.concat([nar("(", "type", "regular", "contents"), Buffer.from("010000000000000078000000000000ff", "hex")]),
      "zero padding"
    ],
    "an empty target": [nar("(", "type", "symlink", "target", "", ")"), "the target of a symlink"],
    "a target with a zero": [nar("(", "type", "symlink", "target", "a\0", ")"), "the target of a symlink"],
    "a target of 4096 bytes": [nar("(", "type", "symlink", "target", "a".repeat(4096), ")"), "at most 4095 bytes"],
    "an empty name": [nar(...directory(entry("", ...file))), "the name of a file"],
    "the name .": [nar(...directory(entry(".", ...file))), "the name of a file"],
    "the name ..": [nar(...directory(entry("..", ...file))), "the name of a file"],
    "a name with a slash": [nar(...directory(entry("a/b", ...file))), "the name of a file"],
    "a name with a zero": [nar(...directory(entry("a\0", ...file))), "the name of a file"],
    "a name of 256 bytes": [nar(...directory(entry("a".repeat(256), ...file))), "at most 255 bytes"],
    "a name twice": [nar(...directory(entry("a", ...file), entry("a", ...file))), 'a name after "a"'],
    "names out of order": [nar(...directory(entry("b", ...file), entry("a", ...file))), 'a name after "b"'],
    "names in the order of JavaScript's strings": [
      nar(...directory(entry("\u{10000}", ...file), entry("\uffff", ...file))),
      "a name after"
    ],
    "an entry without a node": [nar("(", "type", "directory", "entry", "(", "name", "a", ")"), '"node"'],
    "directories 65 deep": [nested(65), "depth of at most 64"]
  }
  for (const [what, [bytes, expected]] of Object.entries(hostile)) {
    it(`refuses ${what}`, () => {
      assert.include(
        refusedBy(() => pushed(bytes)),
        expected
      )
    })
  }

  it("reads what is just within its limits", () => {
    const long = nar(...directory(entry("a".repeat(255), "(", "type", "symlink", "target", "b".repeat(4095), ")")))
    const dots = nar(...directory(entry("...", ...file), entry("..a", ...file)))

    for (const bytes of [nested(64), long, dots]) assert.strictEqual(pushed(bytes), bytes.length)
  })
})

describe("a lister", () => {
  it.prop("lists where the contents are", [Tree], ([tree]) => {
    const bytes = encode(tree)
    const lister = new Lister()
    new Reader(lister).push(bytes)

    const check = (tree: Tree, listing: Listing | undefined | null): void => {
      switch (tree._tag) {
        case "File":
          if (listing?.type !== "regular") return assert.fail("no file")
          assert.strictEqual(listing.executable, tree.executable)
          assert.deepStrictEqual(
            Buffer.from(bytes.subarray(listing.narOffset, listing.narOffset + listing.size)),
            Buffer.from(tree.contents)
          )
          return
        case "Symlink":
          return assert.strictEqual(listing?.type === "symlink" ? listing.target : null, tree.target)
        case "Directory":
          if (listing?.type !== "directory") return assert.fail("no directory")
          assert.sameMembers(Object.keys(listing.entries), Object.keys(tree.entries))
          for (const [name, entry] of Object.entries(tree.entries)) check(entry, listing.entries[name])
      }
    }
    check(tree, lister.listing)
  })
})
