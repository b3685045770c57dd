/** Which addresses are within reach: the table against what is known of them, and what an operator may change. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as EgressPolicy from "../../src/domain/EgressPolicy.ts"
import * as IpPrefix from "../../src/domain/IpPrefix.ts"

const prefixes = (...texts: ReadonlyArray<string>) => texts.map((text) => IpPrefix.parse(text)!)
const make = (allowed: ReadonlyArray<string>, addresses: ReadonlyArray<string> = []) =>
  EgressPolicy.make({ allowed: prefixes(...allowed), addresses: prefixes(...addresses) })

const standard = make([])

const byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const quad = Schema.Tuple([byte, byte, byte, byte])
const group = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }))
const groups = Schema.Tuple([group, group, group, group, group, group, group, group])

/** Said once more, by other means than a table of prefixes. */
const isPublic4 = ([a, b, c, d]: typeof quad.Type): boolean => {
  if (a === 0 || a === 10 || a === 127 || a >= 224) return false
  if (a === 100) return b < 64 || b > 127
  if (a === 169) return b !== 254
  if (a === 172) return b < 16 || b > 31
  if (a === 192) return !(b === 168 || (b === 0 && (c === 0 || c === 2)) || (b === 88 && c === 99))
  if (a === 198) return !(b === 18 || b === 19 || (b === 51 && c === 100))
  if (a === 203) return !(b === 0 && c === 113)
  return !(a === 168 && b === 63 && c === 129 && d === 16)
}

const isPublic6 = (a: number, b: number): boolean => {
  if (a < 0x2000 || a > 0x3fff || a === 0x2002) return false
  if (a === 0x2001) return b >= 0x200 && b !== 0xdb8
  return !(a === 0x3fff && b < 0x1000)
}

describe("the egress policy", () => {
  it.prop("reaches public addresses of version 4 only", [quad], ([parts]) => {
    assert.strictEqual(EgressPolicy.isAllowed(standard, parts.join(".")), isPublic4(parts))
  })

  const first = Schema.Literals([0, 10, 100, 127, 168, 169, 172, 192, 198, 203, 224, 255])
  const second = Schema.Literals([0, 16, 18, 31, 51, 63, 64, 88, 127, 168, 254])
  const third = Schema.Literals([0, 2, 99, 100, 113, 129])
  it.prop("reaches none of those beside them", [first, second, third, byte], (parts) => {
    assert.strictEqual(EgressPolicy.isAllowed(standard, parts.join(".")), isPublic4([...parts]))
  })

  const special = Schema.Literals([
    0, 0x64, 0x100, 0x2000, 0x2001, 0x2002, 0x2600, 0x3fff, 0x5f00, 0xfc00, 0xfe80, 0xff02
  ])
  const next = Schema.Literals([0, 0x1ff, 0x200, 0xdb8, 0xfff, 0x1000, 0xff9b])
  it.prop("reaches public addresses of version 6 only", [special, next, groups], ([a, b, rest]) => {
    const parts = rest.with(0, a).with(1, b)
    const text = parts.map((part) => part.toString(16)).join(":")

    assert.strictEqual(EgressPolicy.isAllowed(standard, text), isPublic6(a, b))
  })

  it.prop("does not reach an address of version 4 by a disguise of version 6", [quad], ([parts]) => {
    for (const disguise of ["::", "::ffff:", "64:ff9b::", "64:ff9b:1::"]) {
      assert.isFalse(EgressPolicy.isAllowed(standard, `${disguise}${parts.join(".")}`))
    }
  })

  it.each([
    ["127.0.0.1", "it means this machine"],
    ["169.254.169.254", "it is of this link, or a cloud's metadata"],
    ["168.63.129.16", "it is a cloud's agent on its hosts"],
    ["::1", "it means this machine"],
    ["::ffff:8.8.8.8", "it is another address in disguise"],
    ["fd00:ec2::254", "it is private"],
    ["fe80::1", "it is of this link"],
    ["2001:0:1::", "it is for protocols, Teredo among them"],
    ["localhost", "it is not an address"],
    ["0177.0.0.1", "it is not an address"]
  ])("refuses %s and says why", (address, reason) => {
    assert.strictEqual(EgressPolicy.refusal(standard, address), reason)
  })

  it("reaches what an operator allows, and no more of what it lies in", () => {
    const policy = make(["10.1.0.0/16", "127.0.0.1", "fd12:3456::/32"])

    assert.isTrue(EgressPolicy.isAllowed(policy, "10.1.255.255"))
    assert.isFalse(EgressPolicy.isAllowed(policy, "10.2.0.0"))
    assert.isTrue(EgressPolicy.isAllowed(policy, "127.0.0.1"))
    assert.isFalse(EgressPolicy.isAllowed(policy, "127.0.0.2"))
    assert.isTrue(EgressPolicy.isAllowed(policy, "fd12:3456:1::1"))
    assert.isFalse(EgressPolicy.isAllowed(policy, "fd12:3457::1"))
  })

  it("allows nothing special to who allows everything", () => {
    const policy = make(["0.0.0.0/0", "::/0"])

    assert.isFalse(EgressPolicy.isAllowed(policy, "10.0.0.1"))
    assert.isFalse(EgressPolicy.isAllowed(policy, "169.254.169.254"))
    assert.isFalse(EgressPolicy.isAllowed(policy, "fe80::1"))
  })

  it.prop(
    "never reaches this machine, whatever is allowed",
    [quad, Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 32 }))],
    ([parts, length]) => {
      const address = parts.join(".")
      const { bits } = IpPrefix.parseAddress(address)!
      const around = { version: 4, bits: (bits >> BigInt(32 - length)) << BigInt(32 - length), length } as const

      const policy = EgressPolicy.make({ allowed: [around], addresses: prefixes(address) })

      assert.strictEqual(EgressPolicy.refusal(policy, address), "it is an address of this machine")
    }
  )

  it("has one rule for each prefix, the longest first", () => {
    const policy = make(["10.0.0.0/8"], ["10.1.2.3", "10.1.2.3"])
    const lengths = policy.map(({ prefix }) => prefix.length)

    assert.strictEqual(new Set(policy.map(({ prefix }) => IpPrefix.print(prefix))).size, policy.length)
    assert.deepStrictEqual(
      lengths,
      [...lengths].sort((a, b) => b - a)
    )
  })
})
