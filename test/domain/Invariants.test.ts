import { assert, describe, it } from "@effect/vitest"
import { AccountId } from "../../src/domain/Account.ts"
import { AttemptId } from "../../src/domain/Attempt.ts"
import { BuildId } from "../../src/domain/BuildId.ts"
import type { Event } from "../../src/domain/Event.ts"
import { HostId } from "../../src/domain/Host.ts"
import { Checker } from "../../src/domain/Invariants.ts"
import { LeaseId } from "../../src/domain/Lease.ts"
import type { Rule } from "../../src/domain/Violation.ts"

const [alice, bob] = [AccountId.make("alice"), AccountId.make("bob")]
const [identity, other] = [BuildId.make("a".repeat(64)), BuildId.make("b".repeat(64))]
const host = HostId.make("host")
const lease = (id: string) => LeaseId.make(id)
const attempt = (id: string) => AttemptId.make(id)

// -----------------------------------------------------------------------------
// what happens, in few words
// -----------------------------------------------------------------------------

const started: Event = { _tag: "ServerStarted" }
const stopped: Event = { _tag: "ServerStopped" }
const hostIs = (state: "open" | "draining", cores = 4): Event => ({
  _tag: "HostChanged",
  host,
  state,
  cores,
  memoryBytes: 100
})
const request = (id: string, account = alice, cores: number | "all" = 1, memoryBytes = 10): Event => ({
  _tag: "LeaseRequested",
  lease: lease(id),
  account,
  system: "x86_64-linux",
  features: [],
  cores,
  memoryBytes
})
const grant = (id: string, cores = 1, memoryBytes = 10): Event => ({
  _tag: "LeaseGranted",
  lease: lease(id),
  host,
  cores,
  memoryBytes
})
const giveBack = (id: string): Event => ({ _tag: "LeaseReturned", lease: lease(id) })
const queue = (build: string, account = alice): Event => ({ _tag: "BuildQueued", build, identity, account })
const begin = (id: string, build: string, isIsolating = true): Event => ({
  _tag: "AttemptStarted",
  attempt: attempt(id),
  build,
  backend: isIsolating ? "kvm" : "process",
  isIsolating
})
const verify = (id: string, build: string): Event => ({ _tag: "OutputsVerified", attempt: attempt(id), build })
const end = (
  id: string,
  build: string,
  outcome: "succeeded" | "lost" | "timed-out" = "succeeded",
  word = id
): Event => ({
  _tag: "AttemptEnded",
  attempt: attempt(id),
  build,
  outcome,
  word: attempt(word)
})
const finish = (build: string, state: "succeeded" | "failed" | "cancelled", id: string | null): Event => ({
  _tag: "BuildEnded",
  build,
  state,
  attempt: id === null ? null : attempt(id)
})
const reuse = (build: string, from: string, account = alice, as = identity): Event => ({
  _tag: "BuildReused",
  build,
  identity: as,
  account,
  from
})
const come = (waiter: string, build: string, account = alice, as = identity): Event => ({
  _tag: "WaiterCame",
  waiter,
  build,
  identity: as,
  account
})
const tell = (waiter: string, status = "Built"): Event => ({ _tag: "WaiterAnswered", waiter, status })
const leave = (waiter: string): Event => ({ _tag: "WaiterLeft", waiter })

/** One build from its queue to its answer. */
const built: ReadonlyArray<Event> = [
  queue("b"),
  come("w", "b"),
  request("1"),
  grant("1"),
  begin("1", "b"),
  verify("1", "b"),
  end("1", "b"),
  finish("b", "succeeded", "1"),
  tell("w"),
  leave("w"),
  giveBack("1")
]

const judge = (events: ReadonlyArray<Event>, checker = new Checker(), run = 1, from = 1) =>
  events.flatMap((event, index) => checker.read({ run, ordinal: from + index, at: 0, event }))

const rulesBroken = (...events: ReadonlyArray<Event>): ReadonlyArray<Rule> =>
  judge([started, hostIs("open"), ...events]).map(({ rule }) => rule)

/** A case of each rule being broken, by as little as can be. */
const broken: ReadonlyArray<readonly [what: string, rule: Rule, events: ReadonlyArray<Event>]> = [
  ["more cores lent than there are", "host", [request("1"), grant("1", 5)]],
  ["more memory lent than there is", "host", [request("1"), request("2"), grant("1", 1, 60), grant("2", 1, 60)]],
  ["a host lent that is not in service", "host", [hostIs("draining"), request("1"), grant("1")]],
  ["a lease asked for twice", "lease", [request("1"), request("1")]],
  ["a lease given to nobody", "lease", [request("1"), giveBack("1"), grant("1")]],
  ["a lease given twice", "lease", [request("1"), grant("1"), grant("1")]],
  ["a lease returned twice", "lease", [request("1"), giveBack("1"), giveBack("1")]],
  [
    "a lease returned under its attempt",
    "lease",
    [queue("b"), request("1"), grant("1"), begin("1", "b"), giveBack("1")]
  ],
  ["an attempt without a lease", "attempt", [queue("b"), request("1"), begin("1", "b")]],
  [
    "two attempts of a build at once",
    "attempt",
    [queue("b"), request("1"), grant("1"), request("2"), grant("2"), begin("1", "b"), begin("2", "b")]
  ],
  [
    "an attempt ended by a word about another",
    "attempt",
    [queue("b"), request("2"), grant("2"), begin("2", "b"), end("2", "b", "lost", "1")]
  ],
  [
    "a success without verified outputs",
    "verified",
    [queue("b"), request("1"), grant("1"), begin("1", "b"), end("1", "b"), finish("b", "succeeded", "1")]
  ],
  [
    "a success by another attempt's outputs",
    "verified",
    [
      ...[queue("b"), request("1"), grant("1"), begin("1", "b"), verify("1", "b"), end("1", "b", "lost")],
      ...[giveBack("1"), request("2"), grant("2"), begin("2", "b"), end("2", "b"), finish("b", "succeeded", "2")]
    ]
  ],
  [
    "an end with an attempt running",
    "end",
    [queue("b"), request("1"), grant("1"), begin("1", "b"), finish("b", "failed", "1")]
  ],
  ["a build that ends twice", "end", [queue("b"), finish("b", "cancelled", null), finish("b", "cancelled", null)]],
  ["a build that is begun again", "end", [...built, queue("b")]],
  ["a waiter answered twice", "answer", [...built.slice(0, 9), tell("w")]],
  ["a success told before it is one", "answer", [...built.slice(0, 7), tell("w")]],
  ["a success told of a failure", "answer", [queue("b"), come("w", "b"), finish("b", "failed", null), tell("w")]],
  ["a waiter for another identity's build", "identity", [queue("b"), come("w", "b", alice, other)]],
  ["a result of another identity", "identity", [...built, reuse("c", "b", alice, other)]],
  [
    "another account's result that was not isolated",
    "identity",
    [...built.slice(0, 4), begin("1", "b", false), ...built.slice(5), reuse("c", "b", bob)]
  ],
  [
    "another account's build that was not isolated",
    "identity",
    [...built.slice(0, 4), begin("1", "b", false), come("x", "b", bob), ...built.slice(5, 9), tell("x")]
  ],
  ["a cancelled build for a result", "identity", [queue("b"), finish("b", "cancelled", null), reuse("c", "b")]],
  ["something open at the end", "closed", [queue("b"), stopped]],
  [
    "a lease for the account with the larger share",
    "order",
    [request("1"), grant("1"), request("2"), request("3", bob), grant("2")]
  ]
]

describe("a record", () => {
  it("that is as it must be breaks no rule", () => {
    assert.deepStrictEqual(
      rulesBroken(...built, reuse("c", "b", bob), come("x", "c", bob), tell("x"), leave("x"), stopped),
      []
    )
  })

  it.each(broken)("shows %s", (_, rule, events) => {
    assert.deepStrictEqual(rulesBroken(...events), [rule])
  })

  it("is left open by a server that was killed, and then closed by the next", () => {
    const checker = new Checker()
    assert.deepStrictEqual(judge([started, hostIs("open"), ...built.slice(0, 6)], checker), [])
    assert.deepStrictEqual(judge([started, hostIs("open"), ...built, stopped], checker, 2), [])
  })

  it("may have an end that nobody was told of again, and no other", () => {
    const checker = new Checker()
    judge([started, hostIs("open"), ...built], checker)
    assert.deepStrictEqual(
      judge([started, queue("b")], checker, 2).map(({ rule }) => rule),
      ["end"]
    )
    const untold = new Checker()
    judge([started, hostIs("open"), ...built.slice(0, 8)], untold)
    assert.deepStrictEqual(judge([started, queue("b")], untold, 2), [])
  })

  it("with a gap says so, and nothing else that hangs on it", () => {
    const checker = new Checker()
    judge([started, hostIs("open")], checker)
    assert.deepStrictEqual(
      judge(built.slice(5), checker, 1, 8).map(({ rule }) => rule),
      ["record"]
    )
  })

  it("is read on from a marker as if it had been read from the beginning", () => {
    const events = [started, hostIs("open"), request("9", bob), ...built, grant("9"), giveBack("9"), stopped]
    for (let cut = 0; cut <= events.length; cut++) {
      const first = new Checker()
      judge(events.slice(0, cut), first)
      // As it comes out of the database.
      const second = new Checker(structuredClone(first.marker))
      assert.deepStrictEqual(judge(events.slice(cut), second, 1, cut + 1), [], `cut at ${cut}`)
      assert.deepStrictEqual(second.marker.ordinal, events.length)
    }
  })
})

describe("a fair order", () => {
  const kept = (id: string): Event => ({ _tag: "HostKept", lease: lease(id), host, cores: 1, memoryBytes: 10 })

  it("is by share, so that who has more waits", () => {
    assert.deepStrictEqual(rulesBroken(request("1"), grant("1"), request("2"), request("3", bob), grant("3")), [])
  })

  it("is by share and weight", () => {
    const weigh: Event = { _tag: "AccountWeighed", account: alice, weight: 100 }
    const events = [request("3", bob), grant("3"), request("1"), grant("1"), request("2"), request("4", bob)]
    assert.deepStrictEqual(rulesBroken(weigh, ...events, grant("2"), grant("4")), [])
    assert.deepStrictEqual(rulesBroken(weigh, ...events, grant("4")), ["order"])
  })

  it("does not hold for one for whom a host is kept, who has waited long", () => {
    assert.deepStrictEqual(
      rulesBroken(request("1"), grant("1"), request("2"), kept("2"), request("3", bob), grant("2")),
      []
    )
  })

  it("passes nobody over who asks for something else, or for more", () => {
    assert.deepStrictEqual(rulesBroken(request("1"), grant("1"), request("2"), request("3", bob, 2), grant("2")), [])
    assert.deepStrictEqual(
      rulesBroken(request("1"), grant("1"), request("2"), request("3", bob, 1, 11), grant("2")),
      []
    )
  })
})
