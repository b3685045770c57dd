import { assert, describe, it } from "@effect/vitest"
import { HashMap } from "effect"
import * as Order from "../../../src/actors/scheduler/Order.ts"
import * as Queue from "../../../src/actors/scheduler/Queue.ts"
import * as Standing from "../../../src/actors/scheduler/Standing.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"
import { HostId } from "../../../src/domain/Host.ts"
import { host, need } from "../../support/needs.ts"
import { granted, queue } from "../../support/queue.ts"

const seconds = 1000

describe("the queue", () => {
  it("lends what is free, and lets the next wait until it comes back", () => {
    const { ask, giveBack } = queue([host("h", 2, 8)])

    assert.deepStrictEqual(ask(need("a"), need("b"), need("c")), ["a", "b"])
    assert.deepStrictEqual(giveBack("a"), ["c"])
  })

  it("counts the sandbox's own overhead", () => {
    const { ask } = queue([host("h", 8, 3)])

    assert.deepStrictEqual(ask(need("a", 1, 1), need("b", 1, 1), need("c", 1, 0.25)), ["a", "b"])
  })

  it("says which host was lent, of the one that will have the least left", () => {
    const { ask, decisions } = queue([host("large", 8, 8), host("small", 2, 8)])

    ask(need("a"), need("b"), need("c"))

    assert.deepStrictEqual(
      decisions.map((decision) => decision._tag === "Granted" && decision.lease.host),
      [HostId.make("small"), HostId.make("small"), HostId.make("large")]
    )
  })

  it("lets a build for another kind of host pass one that waits", () => {
    const { ask } = queue([host("h", 1, 8), host("arm", 1, 8, { systems: ["aarch64-linux"] })])

    assert.deepStrictEqual(ask(need("a"), need("b"), need("c", 1, 1, { system: "aarch64-linux" })), ["a", "c"])
  })

  describe("of builds of one account", () => {
    it("grants to the one with the longest way to go, then to the oldest", () => {
      const { ask, giveBack } = queue([host("h", 1, 8)])
      ask(need("a"), need("b", 1, 1, { rank: 60 }), need("c", 1, 1, { rank: 600 }), need("d", 1, 1, { rank: 60 }))

      assert.deepStrictEqual(giveBack("a", "c", "b", "d"), ["c", "b", "d"])
    })

    it("grants to one that has waited long before a later one with a longer way to go", () => {
      const { ask, giveBack, pass } = queue([host("h", 1, 8)])
      ask(need("a"), need("old"))
      pass((100 / Order.agingPerSecond) * seconds)
      ask(need("longer", 1, 1, { rank: 101 }), need("shorter", 1, 1, { rank: 99 }))

      assert.deepStrictEqual(giveBack("a", "longer", "old", "shorter"), ["longer", "old", "shorter"])
    })

    it("counts no longer way than it may", () => {
      const { ask, giveBack, pass } = queue([host("h", 1, 8)])
      ask(need("a"), need("old"))
      pass((Order.rankSecondsMax / Order.agingPerSecond + 1) * seconds)
      ask(need("endless", 1, 1, { rank: 1e12 }))

      assert.deepStrictEqual(giveBack("a"), ["old"])
    })

    it("goes by the way that is known last", () => {
      const { ask, giveBack, tell } = queue([host("h", 1, 8)])
      ask(need("a"), need("b"), need("c"))
      tell({ _tag: "Reprioritised", lease: LeaseId.make("c"), rank: 5 })

      assert.deepStrictEqual(giveBack("a", "c"), ["c", "b"])
    })
  })

  describe("between accounts", () => {
    const of = (account: string) => ({ account: AccountId.make(account) })
    const builds = (account: string, count: number, cores: number | "all" = 1) =>
      Array.from({ length: count }, (_, index) => need(`${account}${index}`, cores, 0.5, of(account)))

    it("grants to whom the least is lent", () => {
      const { ask, giveBack } = queue([host("h", 4, 8)])
      ask(...builds("a", 8))

      assert.deepStrictEqual(ask(...builds("b", 8)), [])
      assert.deepStrictEqual(giveBack("a0", "a1", "a2", "a3"), ["b0", "b1", "a4", "a5"])
    })

    it("measures by what is the scarcer to an account", () => {
      // A's builds take a tenth of the cores each, B's a fifth of the memory.
      const { ask, giveBack } = queue([host("h", 10, 20, { overheadBytes: 0 })])
      ask(need("all", "all", 20, of("c")))
      ask(...Array.from({ length: 9 }, (_, index) => need(`a${index}`, 1, 0.125, of("a"))))
      ask(...Array.from({ length: 9 }, (_, index) => need(`b${index}`, 1, 4, of("b"))))

      const lent = giveBack("all")

      assert.deepStrictEqual([lent.filter((id) => id.startsWith("a")).length, lent.length], [7, 10])
    })

    it("divides by weight", () => {
      const { ask, giveBack, tell } = queue([host("h", 8, 16)])
      tell({ _tag: "Weighed", account: AccountId.make("a"), weight: 3 })
      ask(need("all", "all", 8, of("c")))
      ask(...builds("a", 9), ...builds("b", 9))

      assert.lengthOf(
        giveBack("all").filter((id) => id.startsWith("a")),
        6
      )
    })

    it("shares a host with room for one build by time, and not by number", () => {
      const { ask, giveBack, pass } = queue([host("h", 1, 8)])
      ask(...builds("a", 2), ...builds("b", 40))
      const order = ["a0"]
      for (let count = 0; count < 15; count++) {
        const last = order.at(-1)!
        pass((last.startsWith("a") ? 10 : 1) * seconds)
        order.push(...giveBack(last))
      }

      assert.deepStrictEqual(order.slice(0, 13), ["a0", ...builds("b", 10).map(({ lease }) => lease), "a1", "b10"])
    })

    it("lets nobody save up for having been away", () => {
      const { ask, giveBack, pass } = queue([host("h", 1, 8)])
      ask(need("b", 1, 0.5, of("b")))
      giveBack("b")
      ask(...builds("a", 4))
      for (const lease of ["a0", "a1"]) {
        pass(1000 * seconds)
        giveBack(lease)
      }
      ask(...builds("b", 4))
      pass(1 * seconds)

      assert.deepStrictEqual(giveBack("a2"), ["b0"])
      pass(5 * seconds)
      assert.deepStrictEqual(giveBack("b0"), ["a3"])
    })

    it("lets nobody go before others without end, with builds that end at once", () => {
      const { ask, giveBack, pass } = queue([host("h", 1, 8)])
      ask(...builds("a", 2), ...builds("b", 9))
      pass(3 * Order.servedSecondsMin * seconds)

      assert.deepStrictEqual(giveBack("a0", "b0", "b1", "b2"), ["b0", "b1", "b2", "a1"])
    })
  })

  describe("with a large build among small ones", () => {
    const small = (from: number, count: number) => Array.from({ length: count }, (_, index) => need(`s${from + index}`))

    const big = need("big", "all", 1, { account: AccountId.make("large") })

    it("lets those of its own account overtake it for a while, then keeps a host for it", () => {
      const { ask, giveBack, pass } = queue([host("h", 2, 8)])
      ask(...small(0, 2), need("big", "all"), ...small(2, 9))

      assert.deepStrictEqual(giveBack("s0"), ["s2"])
      pass(Queue.overtakenSecondsMax * seconds)
      assert.deepStrictEqual(giveBack("s1"), [])
      assert.deepStrictEqual(giveBack("s2"), ["big"])
      assert.deepStrictEqual(giveBack("big"), ["s3", "s4"])
    })

    it("lets those of others overtake it only until it has waited for a while", () => {
      const { ask, giveBack, pass } = queue([host("h", 2, 8)])
      ask(...small(0, 2), big, ...small(2, 9))

      assert.deepStrictEqual(giveBack("s0"), ["s2"])
      pass(Queue.overtakenSecondsMax * seconds)
      assert.deepStrictEqual(giveBack("s1"), [])
      assert.deepStrictEqual(giveBack("s2"), ["big"])
    })

    it("keeps one host, and lends the others", () => {
      const { ask, giveBack, pass } = queue([host("g", 2, 8), host("h", 2, 8)])
      ask(...small(0, 4), big, ...small(4, 9))
      pass(Queue.overtakenSecondsMax * seconds)

      assert.deepStrictEqual(giveBack("s0", "s2", "s3"), ["s4", "s5"])
      assert.deepStrictEqual(giveBack("s1"), ["big"])
    })

    it("gives it another host, if that has the room sooner", () => {
      const { ask, giveBack, pass } = queue([host("g", 2, 8), host("h", 2, 8)])
      ask(...small(0, 4), big, need("s4"))
      pass(Queue.overtakenSecondsMax * seconds)
      giveBack("s0")
      giveBack("s4", "s2")

      assert.deepStrictEqual(giveBack("s3"), ["big"])
      assert.deepStrictEqual(ask(...small(9, 2)), ["s9"])
    })

    it("keeps no host for one whose asker has gone", () => {
      const { ask, giveBack, pass } = queue([host("h", 2, 8)])
      ask(...small(0, 2), big, ...small(2, 1))
      pass(Queue.overtakenSecondsMax * seconds)
      assert.deepStrictEqual(giveBack("s0"), [])

      assert.deepStrictEqual(giveBack("big"), ["s2"])
    })

    it("looks for another host when the one that is kept goes out of service", () => {
      const { ask, change, giveBack, pass } = queue([host("g", 2, 8), host("h", 2, 8)])
      ask(...small(0, 4), big, ...small(4, 9))
      pass(Queue.overtakenSecondsMax * seconds)
      giveBack("s0")
      change("g", "quarantined")

      assert.deepStrictEqual(giveBack("s2"), [])
      assert.deepStrictEqual(giveBack("s3"), ["big"])
    })
  })

  describe("with hosts that come and go", () => {
    it("lends nothing of one that is out of service, and all of it when it is back", () => {
      for (const state of ["draining", "quarantined"] as const) {
        const { ask, change, giveBack } = queue([host("h", 2, 8)])
        ask(need("a"))
        change("h", state)

        assert.deepStrictEqual(ask(need("b"), need("c")), [])
        assert.deepStrictEqual(granted(change("h", "open")), ["b"])
        assert.deepStrictEqual(giveBack("a"), ["c"])
      }
    })

    it("lends of one that joins to those who wait", () => {
      const { ask, tell } = queue([host("h", 1, 8)])
      ask(need("a"), need("b"), need("c"))

      assert.deepStrictEqual(granted(tell({ _tag: "HostJoined", host: host("g", 1, 8) })), ["b"])
    })

    it("lends no more than is left of one that came back smaller", () => {
      const { ask, giveBack, tell } = queue([host("h", 3, 8)])
      ask(need("a"), need("b"), need("c"), need("d"))
      tell({ _tag: "HostJoined", host: host("h", 1, 8) })

      assert.deepStrictEqual(giveBack("a", "b"), [])
      assert.deepStrictEqual(giveBack("c"), ["d"])
    })

    it("promises nothing any more that a host was before it came back smaller", () => {
      const { ask, tell } = queue([host("h", 8, 8)])
      tell({ _tag: "HostJoined", host: host("h", 2, 8) })

      const [decision] = tell({ _tag: "Requested", need: need("a", 8) })
      assert.strictEqual(decision?._tag, "NeverFits")
      assert.deepStrictEqual(ask(need("b", 2)), ["b"])
    })

    it("emulates only what no registered host has a processor for", () => {
      const arm = { system: "aarch64-linux" }
      const emulating = host("e", 2, 8, {
        systems: ["x86_64-linux", "aarch64-linux"],
        emulatedSystems: ["aarch64-linux"]
      })
      const alone = queue([emulating])
      assert.deepStrictEqual(alone.ask(need("a", 1, 1, arm)), ["a"])

      const both = queue([emulating, host("arm", 1, 8, { systems: ["aarch64-linux"] })])
      both.change("arm", "draining")
      assert.deepStrictEqual(both.ask(need("a", 1, 1, arm), need("b")), ["b"])
      assert.deepStrictEqual(granted(both.change("arm", "open")), ["a"])
    })
  })

  describe("refuses at once, and says why,", () => {
    const refused = (asked: ReturnType<typeof need>) => {
      const { ask, books, change, decisions } = queue([host("h", 2, 8)])
      // A host that is out of service is registered still.
      change("h", "draining")
      ask(asked)
      assert.lengthOf(HashMap.toValues(books().line.waiting), decisions.length === 0 ? 1 : 0)
      return decisions.map((decision) => (decision._tag === "NeverFits" ? decision.reason : ""))
    }

    it.each([
      [need("a", 3), /3 cores and 1G of memory.*2 cores and 7680M/],
      [need("b", "all", 9), /all cores of a host and 9G/],
      [need("c", 1, 1, { system: "aarch64-linux" }), /a 'aarch64-linux' with features {} is required/],
      [need("d", 1, 1, { features: ["no-such-feature"] }), /features {no-such-feature} is required/]
    ])("what could never fit: %#", (asked, reason) => {
      assert.match(refused(asked)[0] ?? "", reason)
    })

    it("but not what could, once its host is back", () => {
      assert.deepStrictEqual(refused(need("e", "all", 7.5)), [])
    })
  })

  it("says where a build stands, and what it waits for", () => {
    const { ask, books, change, giveBack, pass } = queue([host("h", 2, 8)])
    ask(need("a"), need("b"), need("c"), need("d", 1, 2, { features: ["big-parallel"] }))
    ask(need("big", "all", 4, { account: AccountId.make("large") }))
    const says = (lease: string) => {
      const standing = Standing.find(books(), LeaseId.make(lease))
      return standing === null ? null : Standing.words(standing)
    }

    assert.strictEqual(says("a"), null)
    assert.strictEqual(says("c"), "for 1 core and 1G on x86_64-linux; 1 build before it")
    assert.strictEqual(says("d"), "for 1 core and 2G on x86_64-linux with big-parallel; 2 builds before it")
    assert.strictEqual(says("big"), "for all cores of a host and 4G on x86_64-linux")

    giveBack("c", "d")
    ask(need("e"))
    pass(Queue.overtakenSecondsMax * seconds)
    giveBack("a")
    assert.match(says("big")!, /4G on x86_64-linux; a host is being kept free for it$/)
    change("h", "quarantined")
    assert.match(says("big")!, /no host that could take it is in service$/)
  })
})
