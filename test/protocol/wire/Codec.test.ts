import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Laws from "../../support/laws.ts"

const words = (...values: ReadonlyArray<bigint>): Uint8Array => {
  const bytes = new Uint8Array(values.length * 8)
  values.forEach((value, index) => new DataView(bytes.buffer).setBigUint64(index * 8, value, true))
  return bytes
}

const refusal = <A>(codec: Codec.Codec<A>, bytes: Uint8Array): string => {
  const result = Codec.decode(codec, bytes, 0)
  return Result.isFailure(result) ? result.failure.message : "accepted"
}

const read = <A>(codec: Codec.Codec<A>, bytes: Uint8Array): A => Result.getOrThrow(Codec.decode(codec, bytes, 0))

describe("primitives", () => {
  Laws.obey(Codec.struct({ word: Codec.u64, small: Codec.upTo(7), bytes: Codec.bytes, text: Codec.text }), Laws.one)

  it("are little-endian words and padded strings", () => {
    assert.deepStrictEqual(Codec.encode(Codec.u64, 258n, 0), Uint8Array.of(2, 1, 0, 0, 0, 0, 0, 0))
    assert.deepStrictEqual(
      Codec.encode(Codec.text, "abc", 0),
      Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 97, 98, 99, 0, 0, 0, 0, 0)
    )
  })

  it("keep within their bounds", () => {
    assert.strictEqual(refusal(Codec.upTo(7), words(8n)), "expected at most 7, found 8")
    assert.strictEqual(
      refusal(Codec.natural, words(2n ** 53n)),
      "expected at most 9007199254740991, found 9007199254740992"
    )
    assert.strictEqual(read(Codec.natural, words(2n ** 53n - 1n)), Number.MAX_SAFE_INTEGER)
    assert.strictEqual(refusal(Codec.bytesUpTo(7), words(8n, 0n)), "expected at most 7 bytes, found 8")
  })

  it("refuse padding that is not zero", () => {
    assert.match(refusal(Codec.bytes, words(3n, 0x01_00_00_00n << 32n)), /^expected zero padding/)
  })

  it("keep bytes of their own, whatever becomes of the buffer they were read from", () => {
    const encoded = Codec.encode(Codec.bytes, Uint8Array.of(1, 2, 3), 0)
    // A `Buffer`, as sockets lend them, has a `slice` that is no copy.
    for (const buffer of [encoded, Buffer.from(encoded)]) {
      const value = read(Codec.bytes, buffer)
      buffer.fill(0)
      assert.deepStrictEqual([...value], [1, 2, 3])
    }
  })

  it("keep a byte order mark, and refuse what is no UTF-8", () => {
    const marked = "\ufefftext"

    assert.strictEqual(read(Codec.text, Codec.encode(Codec.text, marked, 0)), marked)
    assert.strictEqual(
      refusal(Codec.text, Codec.encode(Codec.bytes, Uint8Array.of(0xff), 0)),
      "expected UTF-8, found 1 bytes that are not"
    )
  })

  it("read whatever is not zero as true, and write one", () => {
    assert.isTrue(read(Codec.bool, words(2n ** 64n - 1n)))
    assert.deepStrictEqual(Codec.encode(Codec.bool, true, 0), words(1n))
  })
})

describe("collections", () => {
  Laws.obey(Codec.list(Codec.u64), { ...Laws.one, keepsOrder: true })
  Laws.obey(Codec.set(Codec.text), Laws.one)
  Laws.obey(Codec.map(Codec.bytes, Codec.u64), Laws.one)
  Laws.obey(Codec.option(Codec.text), Laws.one)

  it("refuse more elements than anybody sends, before looking for them", () => {
    const found = 2n ** 64n - 1n

    assert.strictEqual(
      refusal(Codec.list(Codec.u64), words(found)),
      `expected at most 1000000 elements, found ${found}`
    )
    assert.strictEqual(refusal(Codec.listUpTo(2, Codec.u64), words(3n)), "expected at most 2 elements, found 3")
  })

  it("sort sets by bytes, not by UTF-16 units, and drop what is there twice", () => {
    // U+FFFD is below U+1F600 in UTF-8, and above its surrogates in UTF-16.
    const sent = Codec.encode(Codec.list(Codec.text), ["\u{1f600}", "b", "\ufffd", "b", "a"], 0)

    assert.deepStrictEqual(read(Codec.set(Codec.text), sent), ["a", "b", "\ufffd", "\u{1f600}"])
    assert.deepStrictEqual(
      Codec.encode(Codec.set(Codec.text), ["b", "a", "b"], 0),
      Codec.encode(Codec.list(Codec.text), ["a", "b"], 0)
    )
  })

  it("sort maps by key, and refuse a key that is there twice", () => {
    const map = Codec.map(Codec.text, Codec.u64)
    const twice = Codec.encode(
      Codec.list(Codec.struct({ key: Codec.text, value: Codec.u64 })),
      [
        { key: "a", value: 1n },
        { key: "a", value: 2n }
      ],
      0
    )

    assert.deepStrictEqual(
      read(
        map,
        Codec.encode(
          map,
          [
            ["b", 1n],
            ["a", 2n]
          ],
          0
        )
      ),
      [
        ["a", 2n],
        ["b", 1n]
      ]
    )
    assert.strictEqual(refusal(map, twice), 'expected each key once, found "a" twice')
  })
})

describe("a struct", () => {
  it("reads a field of any name", () => {
    const codec = Codec.struct({ __proto__x: Codec.u64, constructor: Codec.u64 })

    assert.deepStrictEqual({ ...read(codec, words(1n, 2n)) }, { __proto__x: 1n, constructor: 2n })
  })

  it("says its fields in order", () => {
    const codec = Codec.struct({ path: Codec.text, sizes: Codec.list(Codec.u64) })

    assert.strictEqual(codec.grammar, "path: text\nsizes: u64*")
  })
})

describe("a name", () => {
  it("stands for the grammar it defines", () => {
    const named = Codec.named("Pair", Codec.struct({ left: Codec.u64, right: Codec.u64 }))

    assert.strictEqual(Codec.list(named).grammar, "Pair*")
    assert.strictEqual(named.definition, "left: u64\nright: u64")
  })
})

describe("decoding an array", () => {
  it("refuses what is left over", () => {
    assert.strictEqual(refusal(Codec.u64, words(1n, 2n)), "expected the end, found 8 more bytes")
  })

  it("throws what is no error of the peer's", () => {
    const broken = Codec.refine(Codec.u64, {
      grammar: "broken",
      schema: Schema.String,
      to: () => 0n,
      from: () => {
        throw new TypeError("ours")
      }
    })

    assert.throws(() => Codec.decode(broken, words(1n), 0), "ours")
  })
})
