/** What an operator's dashboard shows of the queue. */
import { assert, it } from "@effect/vitest"
import * as Gauges from "../../../src/actors/scheduler/Gauges.ts"
import * as Queue from "../../../src/actors/scheduler/Queue.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import { HostId } from "../../../src/domain/Host.ts"
import * as Attributes from "../../../src/telemetry/Attributes.ts"
import * as Metrics from "../../../src/telemetry/Metrics.ts"
import { host, need } from "../../support/needs.ts"

const GiB = 2 ** 30

/** By metric, and by what tells its series apart. */
const shown = (books: Queue.Books) =>
  new Map(
    Gauges.readings(books).map(({ gauge, values }) => [
      gauge.id,
      Object.fromEntries(values.map(([value, attributes = {}]) => [Object.values(attributes).join(), value]))
    ])
  )

/** Asks in order, at these seconds. */
const ask = (books: Queue.Books, ...needs: ReadonlyArray<readonly [seconds: number, ReturnType<typeof need>]>) =>
  needs.reduce((books, [seconds, need]) => Queue.step(books, { _tag: "Requested", need, at: seconds * 1000 })[0], books)

it("tells what is lent of which host, and what builds wait for", () => {
  const books = ask(
    Queue.open([host("a", 2, 8), host("b", 2, 8)]),
    [0, need("1", 2, 1)],
    [0, need("2", 1, 6)],
    [0, need("3", 2, 1)],
    [0, need("4", 1, 6)],
    [0, need("5", 1, 7)]
  )

  const gauges = shown(books)
  assert.deepStrictEqual(gauges.get(Metrics.waitingBuilds.id), { host: 0, cores: 1, memory: 2, drain: 0 })
  assert.deepStrictEqual(gauges.get(Metrics.activeLeases.id), { a: 1, b: 1 })
  assert.deepStrictEqual(gauges.get(Metrics.hostCores.id), { a: 2, b: 2 })
  assert.deepStrictEqual(gauges.get(Metrics.leasedCores.id), { a: 2, b: 1 })
  assert.strictEqual(gauges.get(Metrics.hostMemory.id)?.["a"], 8 * GiB)
  const leased = gauges.get(Metrics.leasedMemory.id)!
  assert.isAtLeast(leased["b"]! - leased["a"]!, 5 * GiB)
  assert.deepStrictEqual(Gauges.readings(books)[0]?.values[0]?.[1], { [Attributes.waitReason]: "host" })
})

it("tells when no host is in service, and when one is kept free", () => {
  const open = Queue.open([host("a", 2, 8)])
  const [drained] = Queue.step(open, { _tag: "HostChanged", host: HostId.make("a"), state: "draining", at: 0 })
  assert.strictEqual(shown(ask(drained, [0, need("1")])).get(Metrics.waitingBuilds.id)?.["host"], 1)

  const long = ask(open, [0, need("1", 1, 1)], [0, need("2", 2, 1, { account: AccountId.make("b") })])
  assert.strictEqual(shown(long).get(Metrics.waitingBuilds.id)?.["cores"], 1)
  const kept = ask(long, [Queue.overtakenSecondsMax + 1, need("3", 1, 1)])
  assert.deepInclude(shown(kept).get(Metrics.waitingBuilds.id), { drain: 1 })
})
