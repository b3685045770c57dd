/** Addresses and prefixes: what is one, and what is in which. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { isIP } from "node:net"
import * as IpPrefix from "../../src/domain/IpPrefix.ts"

const byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const quad = Schema.Tuple([byte, byte, byte, byte])
const group = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))
const groups = Schema.Tuple([group, group, group, group, group, group, group, group])
const length = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 128 }))

const hex = (parts: ReadonlyArray<number>) => parts.map((part) => part.toString(16)).join(":")
const address = (text: string) => IpPrefix.parseAddress(text)!

describe("a prefix", () => {
  it.prop("of version 4 reads as it prints", [quad], ([parts]) => {
    assert.strictEqual(IpPrefix.print(address(parts.join("."))), `${parts.join(".")}/32`)
  })

  it.prop("of version 6 reads as it prints", [groups], ([parts]) => {
    assert.strictEqual(IpPrefix.print(address(hex(parts))), `${hex(parts)}/128`)
  })

  it.prop("of version 6 is the same with its zeros left out", [groups, length], ([parts, at]) => {
    const start = at % 8
    const end = start + 1 + (at % (8 - start))
    const zeroed = parts.map((part, index) => (index >= start && index < end ? 0 : part))
    const short = `${hex(zeroed.slice(0, start))}::${hex(zeroed.slice(end))}`

    assert.deepStrictEqual(address(short), address(hex(zeroed)))
  })

  it.prop("holds exactly the addresses that begin as it does", [groups, groups, length], ([one, other, length]) => {
    const bits = (parts: ReadonlyArray<number>) => parts.map((part) => part.toString(2).padStart(16, "0")).join("")
    const [start, rest] = [bits(one).slice(0, length), "0".repeat(128 - length)]
    const prefix: IpPrefix.IpPrefix = { version: 6, bits: BigInt(`0b${start}${rest}`), length }

    for (const parts of [one, other, one.with(7, other[7])]) {
      assert.strictEqual(IpPrefix.holds(prefix, address(hex(parts))), bits(parts).startsWith(start))
    }
    assert.deepStrictEqual(IpPrefix.parse(IpPrefix.print(prefix)), prefix)
  })

  it("may end in the form of version 4", () => {
    assert.deepStrictEqual(address("::ffff:10.1.2.3"), address("::ffff:a01:203"))
    assert.deepStrictEqual(address("64:ff9b::192.0.2.1"), address("64:ff9b::c000:201"))
  })

  it.each([
    "",
    "10",
    "10.1",
    "010.1.2.3",
    "0x0a.1.2.3",
    "10.1.2.3.4",
    "10.1.2.256",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "fe80::1%eth0",
    "::1::2",
    "2001:db8::1/32",
    "::/129",
    "example.org",
    " 10.0.0.1"
  ])("is not %j", (text) => {
    assert.isNull(IpPrefix.parse(text))
  })

  it.prop("is read where Node reads an address, and nowhere else", [Schema.String], ([text]) => {
    assert.strictEqual(IpPrefix.parseAddress(text) !== null, isIP(text) !== 0 && !text.includes("%"))
  })
})
