import { assert, describe, it } from "@effect/vitest"
import * as Chronicle from "../../../src/actors/scheduler/Chronicle.ts"
import * as Queue from "../../../src/actors/scheduler/Queue.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import { Host, HostId } from "../../../src/domain/Host.ts"
import { Checker } from "../../../src/domain/Invariants.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"
import { Need } from "../../../src/domain/Need.ts"
import { words } from "../../../src/domain/Violation.ts"
import { Chance } from "../../simulation/Chance.ts"

const hosts = [2, 4].map(
  (cores, index) =>
    new Host({
      id: HostId.make(`host-${index}`),
      systems: ["x86_64-linux"],
      features: [],
      cores,
      memoryBytes: 8,
      overheadBytes: index
    })
)

const account = (index: number) => AccountId.make(`account-${index}`)

/** Messages as they come, of leases that are out, hosts that go and accounts that weigh more. */
const messages = function* (chance: Chance, count: number): Generator<Queue.Message> {
  const out: Array<LeaseId> = []
  for (let index = 0, at = 0; index < count; index++) {
    at += chance.below(3000)
    const kind = chance.below(20)
    if (kind === 0) {
      const state = chance.pick(["open", "draining", "quarantined"] as const)
      yield { _tag: "HostChanged", host: chance.pick(hosts).id, state, at }
    } else if (kind === 1)
      yield { _tag: "Weighed", account: account(chance.below(3)), weight: chance.between(1, 3), at }
    else if (kind < 9 && out.length > 0) {
      yield { _tag: "Returned", lease: out.splice(chance.below(out.length), 1)[0]!, at }
    } else {
      const lease = LeaseId.make(`lease-${index}`)
      out.push(lease)
      const need = new Need({
        lease,
        account: account(chance.below(3)),
        system: chance.happens(0.95) ? "x86_64-linux" : "riscv64-linux",
        features: [],
        cores: chance.happens(0.1) ? "all" : chance.between(1, 3),
        memoryBytes: chance.between(1, 6),
        rank: chance.below(100)
      })
      yield { _tag: "Requested", need, at }
    }
  }
  for (const lease of out) yield { _tag: "Returned", lease, at: 1e9 }
}

describe("what the scheduler's books come to as events", () => {
  it("breaks no rule, whatever the scheduler is told", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const checker = new Checker()
      let ordinal = 0
      const read = (events: ReturnType<typeof Chronicle.opening>) => {
        for (const event of events) {
          const broken = checker.read({ run: 1, ordinal: ++ordinal, at: 0, event })
          assert.deepStrictEqual(broken.map(words), [], `seed ${seed}`)
        }
      }
      let books = Queue.open(hosts)
      read([{ _tag: "ServerStarted" }, ...Chronicle.opening(hosts)])
      for (const message of messages(new Chance(seed), 200)) {
        const [next, decisions] = Queue.step(books, message)
        read(Chronicle.events(books, message, decisions, next))
        books = next
      }
      assert.deepStrictEqual(checker.open.leases, [])
    }
  })
})
