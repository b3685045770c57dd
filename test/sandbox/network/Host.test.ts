/** What is read of the machine's own network, from files as kernels write them. */
import { assert, describe, it } from "@effect/vitest"
import * as IpPrefix from "../../../src/domain/IpPrefix.ts"
import * as Host from "../../../src/sandbox/network/Host.ts"

/** As Linux 6.18 shows it, with a prefix that is delivered whole. */
const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 198.51.100.0/24 2 0 2
        |-- 198.51.100.0
           /24 link UNICAST
           /25 host LOCAL
        |-- 198.51.100.7
           /32 host LOCAL
        |-- 198.51.100.255
           /32 link BROADCAST
Local:
  +-- 127.0.0.0/8 2 0 2
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
`

const version6 = `fd000000000000000000000000000002 04 40 00 82     eth0
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
`

const nowhere = "0".repeat(32)
const route = (to: string, length: string, by: string) =>
  `${to} ${length} ${nowhere} 00 ${nowhere} 00000400 00000001 00000000 00000003 ${by.padStart(8)}\n`

describe("a host's network", () => {
  it("has as its own what is delivered here", () => {
    assert.deepStrictEqual(Host.addresses4(trie).map(IpPrefix.print), [
      "198.51.100.0/25",
      "198.51.100.7/32",
      "127.0.0.0/8",
      "127.0.0.1/32"
    ])
    assert.deepStrictEqual(Host.addresses6(version6).map(IpPrefix.print), [
      "fd00:0:0:0:0:0:0:2/128",
      "fe80:0:0:0:fc:ff:fe00:1/128"
    ])
    assert.deepStrictEqual(Host.addresses4(""), [])
  })

  it("leads somewhere by version 6 where there is a way to everywhere", () => {
    assert.isTrue(Host.hasDefaultRoute6(route(nowhere, "00", "eth0")))
    assert.isFalse(Host.hasDefaultRoute6(route(nowhere, "00", "lo")))
    assert.isFalse(Host.hasDefaultRoute6(route(`fd${"0".repeat(30)}`, "40", "eth0")))
    assert.isFalse(Host.hasDefaultRoute6(""))
  })

  it.each([
    ["nameserver 10.0.0.1\nnameserver 10.0.0.2\n", false, "10.0.0.1"],
    ["# nameserver 10.0.0.1\nsearch x\nnameserver\t127.0.0.53\n", false, "127.0.0.53"],
    ["nameserver fd00::1\nnameserver 10.0.0.1\n", true, "10.0.0.1"],
    ["nameserver fd00::1\n", true, "fd00::1"],
    ["nameserver fd00::1\n", false, null],
    ["nameserver fe80::1%eth0\n", true, null],
    ["options edns0\n", true, null]
  ])("asks, by %j and version 6 %j, the resolver %j", (text, hasVersion6, resolver) => {
    assert.strictEqual(Host.resolverIn(text, hasVersion6), resolver)
  })

  it("is read from this machine, whose loopback is its own", () => {
    const { addresses } = Host.read(Host.places)

    assert.include(addresses.map(IpPrefix.print), "127.0.0.1/32")
  })
})
