import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { MachineState } from "../../../src/sandbox/microvm/MachineState.ts"
import { blocks, first, head, named, pageBytes, Pages, rest, state, u32, u64 } from "../../support/machineState.ts"

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
