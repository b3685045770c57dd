import { assert, describe, it } from "@effect/vitest"
import { HashMap, Schema } from "effect"
import * as Line from "../../../src/actors/scheduler/Line.ts"
import * as Queue from "../../../src/actors/scheduler/Queue.ts"
import * as Room from "../../../src/actors/scheduler/Room.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import { HostId } from "../../../src/domain/Host.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"
import * as Naive from "../../support/NaiveQueue.ts"
import { host, need } from "../../support/needs.ts"
import { granted, queue } from "../../support/queue.ts"

const seconds = 1000

describe("the queue, told anything,", () => {
  const of = (name: string) => Schema.Literals([`${name}0`, `${name}1`, `${name}2`, `${name}3`])
  const told = Schema.Array(
    Schema.Struct({
      what: Schema.Literals([
        "ask",
        "ask",
        "ask",
        "ask",
        "ask",
        "return",
        "return",
        "return",
        "rank",
        "state",
        "join",
        "weigh"
      ]),
      lease: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 19 })),
      account: of("account"),
      system: Schema.Literals(["x86_64-linux", "x86_64-linux", "aarch64-linux"]),
      features: Schema.Literals(["", "", "big-parallel"]),
      cores: Schema.Literals([1, 1, 2, 3, "all"]),
      gib: Schema.Literals([0.5, 1, 3]),
      rank: Schema.Literals([0, 0, 5, 60]),
      host: of("host"),
      state: Schema.Literals(["open", "open", "draining", "quarantined"]),
      pass: Schema.Literals([0, 500, 4000, 20_000])
    })
  )
  type Told = typeof told.Type

  const hosts = [
    host("host0", 2, 4),
    host("host1", 4, 8, { features: [] }),
    host("host2", 4, 8, {
      features: [],
      systems: ["x86_64-linux", "aarch64-linux"],
      emulatedSystems: ["aarch64-linux"]
    })
  ]
  const later = host("host3", 3, 6, { systems: ["aarch64-linux"] })

  /** The messages, of which none asks for a lease that is out. */
  const messages = (told: Told): ReadonlyArray<Queue.Message> => {
    const out = new Set<number>()
    let at = 0
    return told.flatMap((each): ReadonlyArray<Queue.Message> => {
      at += each.pass
      const lease = LeaseId.make(`lease${each.lease}`)
      switch (each.what) {
        case "ask": {
          if (out.has(each.lease)) return []
          out.add(each.lease)
          const { account, cores, gib, rank, system } = each
          const features = each.features === "" ? [] : [each.features]
          return [
            {
              _tag: "Requested",
              at,
              need: need(lease, cores, gib, { account: AccountId.make(account), features, rank, system })
            }
          ]
        }
        case "return":
          out.delete(each.lease)
          return [{ _tag: "Returned", at, lease }]
        case "rank":
          return [{ _tag: "Reprioritised", at, lease, rank: each.rank }]
        case "state":
          return [{ _tag: "HostChanged", at, host: HostId.make(each.host), state: each.state }]
        case "join":
          return [{ _tag: "HostJoined", at, host: later }]
        case "weigh":
          return [{ _tag: "Weighed", at, account: AccountId.make(each.account), weight: each.gib }]
      }
    })
  }

  it.prop(
    "decides as one does who looks at everything every time",
    [told],
    ([told]) => {
      let books = Queue.open(hosts)
      const naive = new Naive.NaiveQueue(hosts)
      for (const message of messages(told)) {
        const [next, decisions] = Queue.step(books, message)
        books = next
        assert.deepStrictEqual(decisions, naive.receive(message))
      }
    },
    { arbitrary: { runs: 300, size: 120 } }
  )

  it.prop(
    "lends no more than there is, keeps its books whole, and leaves nobody waiting who fits",
    [told],
    ([told]) => {
      let books = Queue.open(hosts)
      const asked = new Set<string>()
      for (const message of messages(told)) {
        const [next, decisions] = Queue.step(books, message)
        books = next
        if (message._tag === "Requested") asked.add(message.need.lease)
        if (message._tag === "Returned") asked.delete(message.lease)
        for (const decision of decisions) if (decision._tag === "NeverFits") asked.delete(decision.lease)

        const { kept, line, loans, room } = books
        for (const { free, host, keptFor, make, state } of HashMap.values(room.hosts)) {
          const taken = HashMap.toValues(loans).filter((loan) => loan.host === host.id)
          assert.isAtLeast(free.cores, 0)
          assert.isAtLeast(free.memoryBytes, 0)
          assert.strictEqual(free.cores + taken.reduce((sum, { price }) => sum + price.cores, 0), host.cores)
          assert.strictEqual(
            free.memoryBytes + taken.reduce((sum, { price }) => sum + price.memoryBytes, 0),
            host.memoryBytes
          )
          if (state !== "open" || keptFor !== null) continue
          assert.isNull(Line.choose(line, Room.makeOf(room, make), free), "somebody waits for what is free")
        }
        assert.sameMembers([...HashMap.keys(loans), ...HashMap.keys(line.waiting)], [...asked])
        assert.includeMembers([...HashMap.keys(line.waiting)], [...HashMap.keys(kept)])
      }
    },
    { arbitrary: { runs: 100, size: 120 } }
  )

  it.prop(
    "leaves nobody waiting, and nothing in its books, once everything has come back",
    [told],
    ([told]) => {
      let books = [
        ...messages(told),
        ...hosts.map(({ id }) => ({ _tag: "HostChanged", at: 1e9, host: id, state: "open" }) as const)
      ].reduce((books, message) => Queue.step(books, message)[0], Queue.open([...hosts, later]))
      books = Queue.step(books, { _tag: "HostChanged", at: 1e9, host: later.id, state: "open" })[0]
      let at = 1e9
      for (;;) {
        const [lease] = HashMap.keys(books.loans)
        if (lease === undefined) break
        books = Queue.step(books, { _tag: "Returned", at: (at += 1000), lease })[0]
      }

      assert.strictEqual(HashMap.size(books.line.waiting), 0)
      assert.strictEqual(HashMap.size(books.line.shapes), 0)
      assert.strictEqual(HashMap.size(books.kept), 0)
      assert.strictEqual(HashMap.size(books.overtaken), 0)
      for (const { free, host } of HashMap.values(books.room.hosts)) {
        assert.deepStrictEqual(free, { cores: host.cores, memoryBytes: host.memoryBytes })
      }
      for (const { held, leases } of HashMap.values(books.line.accounts)) {
        assert.deepStrictEqual([held, leases], [{ cores: 0, memoryBytes: 0 }, 0])
      }
    },
    { arbitrary: { runs: 100, size: 120 } }
  )

  const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
  const flooded = Schema.Struct({
    hosts: between(1, 3),
    /** Of those who flood it; none of them is whose the large build is, but for one alone. */
    accounts: between(0, 3),
    lengthSeconds: between(1, 60),
    at: between(0, 30)
  })

  it.prop(
    "starts a large build in time, however many small ones come",
    [flooded],
    ([{ accounts, at, hosts, lengthSeconds }]) => {
      const cores = 4
      const waiting = 20
      const names = Array.from({ length: hosts }, (_, index) => host(`h${index}`, cores, 64))
      const { ask, decisions, giveBack, pass } = queue(names)
      const account = (index: number) => AccountId.make(accounts === 0 ? "large" : `a${index % accounts}`)
      const ends = new Map<string, number>()
      let now = 0
      let made = 0
      // Always more of them than there is room for, each ending a little later than the one before.
      const small = () => need(`s${made++}`, 1, 1, { account: account(made) })
      const begin = (leases: ReadonlyArray<string>) => {
        for (const lease of leases) ends.set(lease, now + lengthSeconds + (ends.size % 8) / 8)
      }
      const flood = (until: () => boolean) => {
        while (!until()) {
          const [lease, end] = [...ends].sort(([, a], [, b]) => a - b)[0]!
          ends.delete(lease)
          pass((end - now) * seconds)
          now = end
          begin(giveBack(lease))
          begin(ask(small(), small()))
        }
      }
      begin(ask(...Array.from({ length: hosts * cores + waiting }, small)))
      flood(() => now >= at)
      const asked = now
      const before = accounts === 0 ? made : 0
      begin(ask(need("big", "all", 60, { account: AccountId.make("large") })))
      // What comes before it by right, what overtakes it, and what runs then.
      const rounds = Math.ceil(before / (hosts * cores)) + 2
      const end = asked + Queue.overtakenSecondsMax + rounds * (lengthSeconds + 1)
      flood(() => granted(decisions).includes("big") || now > end)

      assert.isAtMost(now, end)
    },
    { arbitrary: { runs: 60 } }
  )
})
