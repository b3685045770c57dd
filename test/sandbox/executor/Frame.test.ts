import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { WireError } from "../../../src/protocol/wire/Codec.ts"
import * as Frame from "../../../src/sandbox/executor/Frame.ts"
import * as sandbox from "../../support/sandbox.ts"

/** A frame as the executor would write it. */
const frame = (type: number, payload: Uint8Array = new Uint8Array(0)) => ({
  header: { type, length: payload.length },
  payload
})

const decode = ({ header, payload }: ReturnType<typeof frame>, outputs = 0) => Frame.decode(header, payload, outputs)

/** The frames in some bytes. */
const split = (bytes: Uint8Array) => {
  const found: Array<{ readonly type: number; readonly text: string }> = []
  for (let offset = 0; offset < bytes.length;) {
    const header = Frame.header(bytes.subarray(offset, offset + Frame.headerBytes))
    if (header instanceof WireError) throw header
    const start = offset + Frame.headerBytes
    offset = start + header.length
    found.push({ type: header.type, text: Buffer.from(bytes.subarray(start, offset)).toString("latin1") })
  }
  return found
}

describe("a frame", () => {
  it("has the same types on both sides", () => {
    const header = fs.readFileSync(path.resolve(import.meta.dirname, "../../../executor/channel.h"), "utf8")
    const declared = [...header.matchAll(/^\t(FRAME_[A-Z_]+)(?: = (\w+))?,/gm)].filter(
      ([, name]) => name !== "FRAME_MAX"
    )
    const numbers = declared.reduce<Array<number>>(
      (numbers, [, , value]) => [...numbers, value === undefined ? numbers.at(-1)! + 1 : Number(value)],
      []
    )
    const fromExecutor = numbers.filter((number) => number > 0x80)

    assert.deepStrictEqual(numbers.slice(0, 13), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
    assert.deepStrictEqual(fromExecutor, [0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89])
    for (const type of fromExecutor) {
      const found = decode(frame(type, new Uint8Array([1])))
      if (found instanceof WireError) assert.notInclude(found.message, "type")
    }
  })

  it("tells a whole job, the order to run it last", () => {
    const job = sandbox.job({ script: "true", environment: { passAsFile: "big", big: "x".repeat(2 ** 20 + 1) } })
    const frames = split(Buffer.concat([...Frame.job(job)]))

    assert.deepStrictEqual(frames[0], { type: 1, text: Buffer.from(job.program).toString() })
    assert.deepStrictEqual(
      frames.filter(({ type }) => type === 2).map(({ text }) => text),
      ["sh", "-e", "-c", "true"]
    )
    assert.include(
      frames.map(({ text }) => text),
      "HOME=/homeless-shelter"
    )
    assert.deepStrictEqual(
      frames.filter(({ type, text }) => type === 6 && text.startsWith("x")).map(({ text }) => text.length),
      [2 ** 20, 1]
    )
    assert.deepStrictEqual(frames.at(-2), { type: 7, text: job.outputs[0]!.path })
    assert.deepStrictEqual(frames.at(-1), { type: 8, text: "\0\0\0\0\0\x40\0\0localhost" })
  })

  it("tells the time and chance to a machine", () => {
    const chance = new Uint8Array(Frame.seedBytes).fill(7)
    const frames = split(Buffer.concat([Frame.clock(2n ** 40n + 1n), Frame.seed(chance), Frame.network(["a", "b"])]))

    assert.deepStrictEqual(frames, [
      { type: 10, text: "\x01\0\0\0\0\x01\0\0" },
      { type: 11, text: "\x07".repeat(32) },
      { type: 13, text: "a b" }
    ])
  })

  it("is refused where it says that it is longer than any", () => {
    const header = Buffer.from([0x82, 1, 0, 0x10, 0])
    assert.instanceOf(Frame.header(header), WireError)
    header[1] = 0
    assert.deepStrictEqual(Frame.header(header), { type: 0x82, length: 2 ** 20 })
  })

  it("does not take a path that is longer than any", () => {
    const said = (length: number) => decode(frame(0x86, new Uint8Array(length + 1).fill(1)))
    assert.notInstanceOf(said(32 * 1024), WireError)
    assert.instanceOf(said(32 * 1024 + 1), WireError)
  })

  it("says how the builder ended, and which outputs are there", () => {
    const payload = Buffer.alloc(58 + 2)
    payload[0] = 1
    payload[1] = 9
    payload.writeBigUInt64LE(1234n, 2)
    payload.writeBigUInt64LE(2n ** 64n - 1n, 2 + 4 * 8)
    payload.writeBigUInt64LE(2n ** 64n - 1n, 2 + 5 * 8)
    payload.writeBigUInt64LE(3n, 2 + 6 * 8)
    payload[59] = 1

    const exited = decode(frame(0x83, payload), 2)
    assert.deepStrictEqual(exited, {
      _tag: "Exited",
      kind: "Signalled",
      value: 9,
      cpuUserMicroseconds: 1234,
      cpuSystemMicroseconds: 0,
      residentBytesMax: 0,
      scratchBytesFree: 0,
      scratchInodesFree: Number.MAX_SAFE_INTEGER,
      memoryPeakBytes: null,
      oomKills: 3,
      present: [false, true]
    })
    assert.instanceOf(decode(frame(0x83, payload), 3), WireError)
    assert.instanceOf(decode(frame(0x83, payload.with(0, 4)), 2), WireError)
    assert.instanceOf(decode(frame(0x83, payload.with(59, 2)), 2), WireError)
  })

  it.prop(
    "is decoded or refused, whatever its bytes",
    [Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })), Schema.Uint8Array],
    ([type, payload]) => {
      const found = decode(frame(type, payload), payload.length % 3)
      assert.isTrue(found instanceof WireError || typeof found._tag === "string")
    }
  )
})
