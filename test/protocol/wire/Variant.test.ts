import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Variant from "../../../src/protocol/wire/Variant.ts"
import * as Laws from "../../support/laws.ts"

const old = 0x0110
const recent = 0x0120

const read = <A>(codec: Codec.Codec<A>, bytes: Uint8Array, version: Codec.Version): A =>
  Result.getOrThrow(Codec.decode(codec, bytes, version))

describe("a field that came later", () => {
  const codec = Codec.struct({ first: Codec.u64, later: Variant.since(recent, Codec.text, "none") })

  Laws.obey(codec, { newest: recent, older: [old] })

  it("is not there before, and reads as its default", () => {
    const bytes = Codec.encode(codec, { first: 1n, later: "said" }, old)

    assert.strictEqual(bytes.length, 8)
    assert.deepStrictEqual(read(codec, bytes, old), { first: 1n, later: "none" })
  })
})

describe("two layouts", () => {
  const words = Codec.struct({ high: Codec.u32, low: Codec.u32 })
  const swapped = Codec.refine(Codec.struct({ low: Codec.u32, high: Codec.u32 }), {
    grammar: "low high",
    schema: words.schema,
    to: (value) => value,
    from: (value) => value
  })
  const codec = Variant.layouts(Variant.from(recent), words, swapped)

  Laws.obey(codec, { newest: recent, older: [old] })

  it("are chosen by what was agreed on", () => {
    const value = { high: 1, low: 2 }

    assert.deepStrictEqual(Codec.encode(codec, value, recent), Codec.encode(words, value, 0))
    assert.deepStrictEqual(Codec.encode(codec, value, old), Codec.encode(swapped, value, 0))
  })

  it("are one when pinned", () => {
    const value = { high: 1, low: 2 }

    assert.deepStrictEqual(Codec.encode(Variant.pinned(old, codec), value, recent), Codec.encode(codec, value, old))
  })
})

describe("bytes without a value", () => {
  it("must be those, or may be any", () => {
    const other = Codec.encode(Codec.u64, 7n, 0)

    assert.isTrue(Result.isFailure(Codec.decode(Variant.exactly(Codec.u64, 1n), other, 0)))
    assert.isTrue(Result.isSuccess(Codec.decode(Variant.ignored(Codec.u64, 1n), other, 0)))
    assert.deepStrictEqual(Codec.encode(Variant.ignored(Codec.u64, 1n), null, 0), Codec.encode(Codec.u64, 1n, 0))
  })
})

describe("an enumeration", () => {
  const codec = Variant.enumeration({ low: 1, high: 9 })

  Laws.obey(codec, Laws.one)

  it("refuses numbers that have no name", () => {
    const result = Codec.decode(codec, Codec.encode(Codec.u64, 2n, 0), 0)

    assert.isTrue(Result.isFailure(result) && result.failure.message === "expected one of 1, 9, found 2")
  })
})

describe("a tagged union", () => {
  const codec = Variant.tagged({
    Empty: [1, Codec.struct({})],
    Full: [0x12345, Codec.struct({ text: Codec.text, size: Codec.u64 })]
  })

  Laws.obey(codec, Laws.one)

  it("says its cases", () => {
    assert.strictEqual(codec.grammar, "1 Empty\n0x12345 Full\n  text: text\n  size: u64")
  })

  it("refuses numbers of no case", () => {
    const result = Codec.decode(codec, Codec.encode(Codec.u64, 0x12346n, 0), 0)

    assert.isTrue(Result.isFailure(result) && result.failure.message === "expected one of 1, 0x12345, found 0x12346")
  })
})

describe("a version", () => {
  it("prints as people say it", () => {
    assert.strictEqual(Variant.printVersion(0x0126), "1.38")
    assert.strictEqual(Variant.printVersion(0x0205), "2.5")
    assert.strictEqual(Variant.printVersion(0x3_0126), "1.38")
  })
})
