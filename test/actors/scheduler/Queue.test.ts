import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { AccountId } from "../../../src/domain/Account.ts"
import { Host, HostId } from "../../../src/domain/Host.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"
import { Need } from "../../../src/domain/Need.ts"
import * as Queue from "../../../src/actors/scheduler/Queue.ts"

const GiB = 2 ** 30
const host = (id: string, cores: number, gib: number, systems = ["x86_64-linux"]) =>
  new Host({
    id: HostId.make(id),
    systems,
    features: ["big-parallel"],
    cores,
    memoryBytes: gib * GiB,
    overheadBytes: GiB / 2
  })
const need = (lease: string, cores: number | "all" = 1, gib = 1, more: Partial<Need> = {}) =>
  new Need({
    lease: LeaseId.make(lease),
    account: AccountId.make("a"),
    system: "x86_64-linux",
    features: [],
    cores,
    memoryBytes: gib * GiB,
    ...more
  })

const run = (hosts: ReadonlyArray<Host>, messages: ReadonlyArray<Queue.Message>) => {
  let books = Queue.open(hosts)
  const decisions: Array<Queue.Decision> = []
  for (const message of messages) {
    const [next, made] = Queue.step(books, message)
    books = next
    decisions.push(...made)
  }
  return { books, decisions }
}
const ask = (need: Need): Queue.Message => ({ _tag: "Requested", need })
const giveBack = (lease: string): Queue.Message => ({ _tag: "Returned", lease: LeaseId.make(lease) })
const granted = (decisions: ReadonlyArray<Queue.Decision>) =>
  decisions.flatMap((decision) => (decision._tag === "Granted" ? [decision.lease.id as string] : []))

describe("the queue", () => {
  it("lends what is free, and lets the next wait until it comes back", () => {
    const { books, decisions } = run([host("h", 2, 8)], [ask(need("a")), ask(need("b")), ask(need("c"))])
    assert.deepStrictEqual(granted(decisions), ["a", "b"])

    const [, later] = Queue.step(books, giveBack("a"))
    assert.deepStrictEqual(granted(later), ["c"])
  })

  it("counts the sandbox's own overhead", () => {
    const { decisions } = run([host("h", 8, 3)], [ask(need("a", 1, 1)), ask(need("b", 1, 1)), ask(need("c", 1, 0.25))])
    assert.deepStrictEqual(granted(decisions), ["a", "b"])
  })

  it("does not let small builds overtake one that waits for the whole host", () => {
    const first = run([host("h", 2, 8)], [ask(need("a")), ask(need("big", "all")), ask(need("c"))])
    assert.deepStrictEqual(granted(first.decisions), ["a"])

    const [books, later] = Queue.step(first.books, giveBack("a"))
    assert.deepStrictEqual(granted(later), ["big"])
    assert.deepStrictEqual(granted(Queue.step(books, giveBack("big"))[1]), ["c"])
  })

  it("lets a build for another kind of host pass one that waits", () => {
    const hosts = [host("h", 1, 8), host("arm", 1, 8, ["aarch64-linux"])]
    const { decisions } = run(hosts, [
      ask(need("a")),
      ask(need("b")),
      ask(need("c", 1, 1, { system: "aarch64-linux" }))
    ])
    assert.deepStrictEqual(granted(decisions), ["a", "c"])
  })

  it("forgets a request whose asker has gone, and lets the next one in", () => {
    const { decisions } = run(
      [host("h", 2, 8)],
      [ask(need("a")), ask(need("big", "all")), ask(need("c")), giveBack("big")]
    )
    assert.deepStrictEqual(granted(decisions), ["a", "c"])
  })

  it("refuses at once what could never fit, and says why", () => {
    const asks = [
      need("a", 3),
      need("b", 1, 9),
      need("c", 1, 1, { system: "aarch64-linux" }),
      need("d", 1, 1, { features: ["no-such-feature"] })
    ]
    const { books, decisions } = run([host("h", 2, 8)], asks.map(ask))
    assert.deepStrictEqual(
      decisions.map(({ _tag }) => _tag),
      ["NeverFits", "NeverFits", "NeverFits", "NeverFits"]
    )
    assert.match(
      decisions[3]?._tag === "NeverFits" ? decisions[3].reason : "",
      /features \{no-such-feature\} is required/
    )
    assert.lengthOf(books.waiting, 0)
  })

  const told = Schema.Array(
    Schema.Struct({
      lease: Schema.Literals(["a", "b", "c", "d", "e", "f"]),
      returned: Schema.Boolean,
      cores: Schema.Literals([1, 2, "all"]),
      gib: Schema.Literals([1, 3])
    })
  )

  it.prop(
    "lends no more than a host has, and keeps its books whole",
    [told],
    ([told]) => {
      const hosts = [host("small", 1, 4), host("large", 4, 8)]
      let books = Queue.open(hosts)
      const asked = new Set<string>()
      for (const { cores, gib, lease, returned } of told) {
        if (!returned && asked.has(lease)) continue
        if (returned) asked.delete(lease)
        else asked.add(lease)
        const [next, decisions] = Queue.step(books, returned ? giveBack(lease) : ask(need(lease, cores, gib)))
        for (const decision of decisions)
          assert.isTrue(asked.has(decision._tag === "Granted" ? decision.lease.id : decision.lease))
        books = next
        for (const { free, host } of books.hosts) {
          const taken = [...books.loans.values()].filter((loan) => loan.host === host.id)
          assert.isAtLeast(free.cores, 0)
          assert.isAtLeast(free.memoryBytes, 0)
          assert.strictEqual(free.cores + taken.reduce((sum, { price }) => sum + price.cores, 0), host.cores)
          assert.strictEqual(
            free.memoryBytes + taken.reduce((sum, { price }) => sum + price.memoryBytes, 0),
            host.memoryBytes
          )
        }
        const known = [...books.loans.keys(), ...books.waiting.map(({ lease }) => lease)]
        assert.sameMembers(known, [...asked])
      }
    },
    { arbitrary: { runs: 300, size: 30 } }
  )

  it.prop("leaves nobody waiting once everything has come back", [told], ([told]) => {
    let books = Queue.open([host("large", 4, 8)])
    const asked = new Set<string>()
    for (const { cores, gib, lease } of told) {
      if (asked.has(lease)) continue
      asked.add(lease)
      books = Queue.step(books, ask(need(lease, cores, gib)))[0]
    }
    while (books.loans.size > 0) books = Queue.step(books, { _tag: "Returned", lease: [...books.loans.keys()][0]! })[0]
    assert.lengthOf(books.waiting, 0)
  })
})
