import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Name from "../../../src/protocol/nar/Name.ts"

/** Bytes of which many are beginnings, middles and ends of characters in UTF-8. */
const Bytes = Schema.Array(
  Schema.Union([
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })),
    Schema.Literals([0x61, 0xc3, 0xa4, 0xed, 0xa0, 0x80, 0xb2, 0xef, 0xbb, 0xbf, 0xf0, 0x9f, 0x92, 0xa9])
  ])
)

describe("a name in a NAR", () => {
  it.prop("comes back from its text", [Bytes], ([bytes]) => {
    const text = Name.toText(Uint8Array.from(bytes))
    assert.deepStrictEqual([...(Name.toBytes(text) ?? [])], bytes)
  })

  it.prop("is sorted by its bytes", [Bytes, Bytes], ([a, b]) => {
    const [first, second] = [Uint8Array.from(a), Uint8Array.from(b)]
    const order = Name.compare(Name.toText(first), Name.toText(second))
    assert.strictEqual(Math.sign(order), Buffer.compare(first, second))
  })

  it("stands for a byte that is no character as a lone surrogate", () => {
    assert.strictEqual(Name.toText(Uint8Array.of(0x61, 0xe4, 0x62)), "a\udce4b")
    assert.strictEqual(Name.toText(Uint8Array.of(0xed, 0xb2, 0x80)), "\udced\udcb2\udc80")
    assert.strictEqual(Name.toText(Uint8Array.of(0xef, 0xbb, 0xbf)), "\ufeff")
  })

  it("is not read from text that stands for no bytes, or for bytes that have another text", () => {
    for (const text of ["\ud800", "\udc7f", "\udfff", "\udcc3\udca4"]) assert.isNull(Name.toBytes(text))
  })
})
