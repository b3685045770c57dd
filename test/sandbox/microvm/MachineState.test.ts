import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { MachineState } from "../../../src/sandbox/microvm/MachineState.ts"

const pageBytes = 4096

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}
const named = (name: string) => Buffer.concat([Buffer.of(name.length), Buffer.from(name)])

/** A page of the memory, or of the firmware's: as QEMU says it, and what is to be kept of it. */
const Page = Schema.Struct({
  of: Schema.Literals(["pc.ram", "pc.bios"]),
  byte: Schema.Literals([0, 1, 255]),
  isFilled: Schema.Boolean
})
const Pages = Schema.Array(Page)
type Page = typeof Page.Type

const head = Buffer.concat([u32(0x5145564d), u32(3), Buffer.of(7), u32(6), Buffer.from("pc-q35")])
const blocks = Buffer.concat([
  u64(3 * pageBytes + 0x04),
  ...[named("pc.ram"), u64(2 * pageBytes), named("pc.bios"), u64(pageBytes)]
])
const first = Buffer.concat([Buffer.of(1), u32(2), named("ram"), u32(0), u32(4)])
const end = Buffer.concat([u64(0x10), Buffer.of(0x7e), u32(2)])
const rest = Buffer.from("the devices, whatever they say")

const state = (pages: ReadonlyArray<Page>, isCondensed: boolean) => {
  let before: string | null = null
  const entries = pages.map((page, index) => {
    const isSame = page.of === before
    before = page.of
    const kind = (page.isFilled ? 0x02 : 0x08) | (isSame ? 0x20 : 0)
    const contents = page.isFilled ? Buffer.of(page.byte) : Buffer.alloc(pageBytes, page.byte)
    // What names its block is needed by those that follow.
    if (isCondensed && isSame && page.of === "pc.ram" && page.isFilled && page.byte === 0) return Buffer.alloc(0)
    return Buffer.concat([u64(index * pageBytes + kind), ...(isSame ? [] : [named(page.of)]), contents])
  })
  const half = Math.floor(entries.length / 2)
  return Buffer.concat([
    ...[head, first, blocks, end],
    ...[Buffer.of(2), u32(2), ...entries.slice(0, half), end],
    ...[Buffer.of(3), u32(2), ...entries.slice(half), end, rest]
  ])
}

const condensed = (bytes: Uint8Array, pieceBytes: number) => {
  const machine = new MachineState("pc.ram")
  const kept: Array<Uint8Array> = []
  for (let at = 0; at < bytes.length; at += pieceBytes) kept.push(machine.push(bytes.subarray(at, at + pieceBytes)))
  return { kept: Buffer.concat(kept), isWhole: machine.isWhole }
}

const Piece = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 }))

describe("the state of a machine", () => {
  it.prop(
    "is what it was, without the empty pages of its memory, however it comes",
    [Pages, Piece],
    ([pages, size]) => {
      const { isWhole, kept } = condensed(state(pages, false), size)

      assert.isTrue(isWhole)
      assert.isTrue(kept.equals(state(pages, true)))
    }
  )

  it.prop("is not whole before its memory is", [Pages, Schema.Int], ([pages, chance]) => {
    const whole = state(pages, false)
    const memoryBytes = whole.length - rest.length

    assert.isFalse(condensed(whole.subarray(0, Math.abs(chance) % memoryBytes), 1000).isWhole)
  })

  it.prop("is refused for what it is not, and no more of it is held than a page", [Schema.Uint8Array], ([bytes]) => {
    const machine = new MachineState("pc.ram")
    try {
      machine.push(bytes)
      assert.isFalse(machine.isWhole)
      assert.isBelow(bytes.length, 8)
    } catch (error) {
      assert.match(String(error), /expected/)
    }
  })

  for (const [what, bytes] of [
    ["another magic", u32(0x12345678)],
    ["another version", Buffer.concat([head.subarray(0, 4), u32(4)])],
    ["a section of something else", Buffer.concat([head, Buffer.of(1), u32(2), named("disk"), u32(0), u32(4)])],
    ["a section of devices before the memory", Buffer.concat([head, Buffer.of(4)])],
    ["a page of an unknown kind", Buffer.concat([head, first, blocks, u64(0x40)])],
    [
      "more blocks than there is memory",
      Buffer.concat([head, first, u64(pageBytes + 4), named("x"), u64(2 * pageBytes)])
    ],
    ["no end of a section", Buffer.concat([head, first, blocks, u64(0x10), Buffer.of(1), u32(2)])],
    ["a machine with an endless name", Buffer.concat([head.subarray(0, 9), u32(2 ** 31)])]
  ] as const) {
    it(`is refused with ${what}`, () => {
      assert.throws(() => new MachineState("pc.ram").push(Buffer.concat([bytes, Buffer.alloc(64)])), /expected/)
    })
  }
})
