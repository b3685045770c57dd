/** Hosts as a service has them: who is lent, who is not, and what brings them back. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Queue, Scope } from "effect"
import { TestClock } from "effect/testing"
import {
  type Assignment,
  BuilderLost,
  BuilderPool,
  BuildFailed,
  type Finished
} from "../../../src/actors/builder/BuilderPool.ts"
import type { HostBuilders } from "../../../src/actors/builder/HostBuilders.ts"
import { lossesMax, type State } from "../../../src/actors/builder/HostLifecycle.ts"
import * as Hosts from "../../../src/actors/builder/Hosts.ts"
import { Scheduler } from "../../../src/actors/scheduler/Scheduler.ts"
import { AccountId } from "../../../src/domain/Account.ts"
import { AttemptId, noUsage } from "../../../src/domain/Attempt.ts"
import { Host, HostId } from "../../../src/domain/Host.ts"
import { type Lease, LeaseId } from "../../../src/domain/Lease.ts"
import { Need } from "../../../src/domain/Need.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { HostRepository } from "../../../src/storage/HostRepository.ts"
import type { StorageError } from "../../../src/storage/StorageError.ts"

/** How a builder ends that the test lets end at once. */
type End = "well" | "failed" | BuilderLost["fault"]

/** A host whose builders and probes end when, and as, the test says. */
const machine = Effect.fnUntraced(function* (name: string, isIsolating = true) {
  const id = HostId.make(name)
  const ends = yield* Queue.unbounded<End>()
  const probes = yield* Queue.unbounded<string | null>()
  const probed = yield* Queue.unbounded<void>()
  const builders: HostBuilders = {
    host: new Host({ id, systems: ["x86_64-linux"], features: [], cores: 1, memoryBytes: 2 ** 30, overheadBytes: 0 }),
    kindOf: () => ({ backend: "process", versions: {}, isIsolating }),
    epoch: 1,
    run: () => Effect.flatMap(Queue.take(ends), ended),
    probe: Effect.andThen(Queue.offer(probed, undefined), Queue.take(probes)).pipe(
      Effect.flatMap((trouble) =>
        trouble === null ? Effect.void : new BuilderLost({ fault: "host", detail: trouble })
      )
    )
  }
  return { id, builders, ends, probes, probed }
})
type Machine = Effect.Success<ReturnType<typeof machine>>

const ended = (end: End): Effect.Effect<Finished, BuildFailed | BuilderLost> => {
  if (end === "well")
    return Effect.succeed({ usage: noUsage, importOutputs: Effect.succeed([]), keepOutputs: Effect.void })
  if (end !== "failed") return new BuilderLost({ fault: end, detail: `lost: ${end}` })
  return new BuildFailed({ failure: { status: "PermanentFailure", outcome: "failed", message: "no" } })
}

/** Hosts whose operator's words are kept in memory. */
const remembered = () => {
  const drained = new Set<HostId>()
  return Layer.succeed(HostRepository, {
    drained: Effect.sync(() => [...drained]),
    setDrained: (host, isDrained) => Effect.sync(() => void (isDrained ? drained.add(host) : drained.delete(host)))
  })
}

let leases = 0
const need = () =>
  new Need({
    lease: LeaseId.make(`lease-${++leases}`),
    account: AccountId.make("ann"),
    system: "x86_64-linux",
    features: [],
    cores: 1,
    memoryBytes: 2 ** 20,
    rank: 0
  })

const assignment = (lease: Lease, build = `${leases}`): Assignment => ({
  attempt: AttemptId.make(lease.id),
  account: AccountId.make("ann"),
  lease,
  derivationPath: StorePath.make(`${"0".repeat(32)}-${build}.drv`),
  derivation: {
    outputs: [],
    inputSources: [],
    system: "x86_64-linux",
    builder: new Uint8Array(0),
    arguments: [],
    environment: []
  },
  closure: []
})

interface Attempted {
  readonly host: HostId
  readonly exit: Exit.Exit<Finished, BuildFailed | BuilderLost>
}

interface Served {
  readonly pool: BuilderPool["Service"]
  readonly service: Hosts.Hosts["Service"]
  readonly lease: Effect.Effect<Lease, never, Scope.Scope>
  /** One attempt: where it ran, and what it came to. */
  readonly attempt: (build?: string) => Effect.Effect<Attempted>
  readonly stateOf: (host: HostId) => Effect.Effect<State["_tag"] | undefined>
  /** Waits until a host has come to be so. */
  readonly until: (host: HostId, state: State["_tag"]) => Effect.Effect<void>
}

/** The service of these hosts. */
const served = Effect.fnUntraced(function* (
  machines: readonly [Machine, ...ReadonlyArray<Machine>],
  operator: Layer.Layer<HostRepository> = remembered()
): Effect.fn.Return<Served, StorageError, Scope.Scope> {
  const [first, ...rest] = machines.map(({ builders }) => builders)
  const hosts = machines.map(({ builders }) => builders.host)
  const context = yield* Layer.build(
    Hosts.layer([first!, ...rest]).pipe(Layer.provideMerge(Scheduler.layer(hosts)), Layer.provide(operator))
  )
  const pool = Context.get(context, BuilderPool)
  const scheduler = Context.get(context, Scheduler)
  const service = Context.get(context, Hosts.Hosts)
  // Each fits each host.
  const lease = Effect.orDie(Effect.suspend(() => scheduler.lease(need())))
  const attempt: Served["attempt"] = (build) =>
    Effect.gen(function* () {
      const lent = yield* lease
      const exit = yield* Effect.exit(pool.run(assignment(lent, build), () => Effect.void))
      return { host: lent.host, exit }
    }).pipe(Effect.scoped)
  const stateOf: Served["stateOf"] = (id) =>
    Effect.map(service.list, (seen) => seen.find(({ host }) => host.id === id)?.state._tag)
  const until: Served["until"] = (id, state) =>
    Effect.flatMap(stateOf(id), (now) =>
      now === state ? Effect.void : Effect.andThen(Effect.yieldNow, until(id, state))
    )
  return { pool, service, lease, attempt, stateOf, until }
})

const lose = Effect.fnUntraced(function* (
  { attempt }: Served,
  { ends }: Machine,
  fault: BuilderLost["fault"],
  builds: ReadonlyArray<string>
) {
  for (const build of builds) {
    yield* Queue.offer(ends, fault)
    yield* attempt(build)
  }
})
const same = Array.from({ length: lossesMax }, () => "one")
const several = Array.from({ length: lossesMax }, (_, index) => `build-${index}`)

describe("hosts", () => {
  it.effect("that give no sandbox are lent no more until a probe has ended well, and others take their work", () =>
    Effect.gen(function* () {
      const broken = yield* machine("broken")
      const service = yield* served([broken])
      yield* lose(service, broken, "host", same)
      yield* service.until(broken.id, "Probing")
      yield* Queue.take(broken.probed)

      // Nothing is lent, so this waits.
      const waiting = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* Queue.offer(broken.probes, "no boot")
      yield* service.until(broken.id, "Quarantined")
      yield* TestClock.adjust("1 second")
      yield* Queue.take(broken.probed)
      assert.isUndefined(waiting.pollUnsafe())
      yield* Queue.offer(broken.probes, null)
      yield* Queue.offer(broken.ends, "well")

      const { exit } = yield* Fiber.join(waiting)
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(yield* service.stateOf(broken.id), "Serving")
    }).pipe(Effect.scoped)
  )

  it.effect("take over what a quarantined one would have got", () =>
    Effect.gen(function* () {
      const [broken, sound] = [yield* machine("a-broken"), yield* machine("b-sound")]
      const service = yield* served([broken, sound])
      // Whichever of them is asked first: the broken one has lost all that it was given by now.
      yield* service.service.drain("b-sound")
      yield* lose(service, broken, "host", same)
      yield* service.until(broken.id, "Probing")
      yield* service.service.resume("b-sound")
      yield* Queue.offer(sound.probes, null)
      yield* Queue.offer(sound.ends, "well")

      assert.strictEqual((yield* service.attempt()).host, sound.id)
    }).pipe(Effect.scoped)
  )

  it.effect("on which several builds lost their sandboxes are probed, and lent again at once if they are well", () =>
    Effect.gen(function* () {
      const doubted = yield* machine("doubted")
      const service = yield* served([doubted])
      yield* lose(service, doubted, "sandbox", several)
      yield* service.until(doubted.id, "Doubted")
      yield* Queue.take(doubted.probed)

      yield* Queue.offer(doubted.ends, "failed")
      const waiting = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* Queue.offer(doubted.probes, null)
      yield* service.until(doubted.id, "Serving")
      assert.isTrue(Exit.isFailure((yield* Fiber.join(waiting)).exit))
    }).pipe(Effect.scoped)
  )

  it.effect("are probed with room that is lent to nobody else", () =>
    Effect.gen(function* () {
      const full = yield* machine("full")
      const service = yield* served([full])
      yield* lose(service, full, "sandbox", several.slice(1))
      // The last of them has lost its sandbox, and holds its lease until that is confirmed gone.
      const lease = yield* Scope.make()
      const lent = yield* Scope.provide(service.lease, lease)
      yield* Queue.offer(full.ends, "sandbox")
      yield* Effect.exit(Effect.scoped(service.pool.run(assignment(lent, "last"), () => Effect.void)))
      yield* service.until(full.id, "Doubted")
      const waiting = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Queue.size(full.probed), 0)

      yield* Scope.close(lease, Exit.void)
      yield* Queue.take(full.probed)
      yield* Queue.offer(full.ends, "well")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Queue.offer(full.probes, null)
      assert.isTrue(Exit.isSuccess((yield* Fiber.join(waiting)).exit))
    }).pipe(Effect.scoped)
  )

  it.effect("are probed once more only when nothing is left of the probe before", () =>
    Effect.gen(function* () {
      const host = yield* machine("host")
      const gone = yield* Deferred.make<void>()
      const probe = Effect.ensuring(host.builders.probe, Deferred.await(gone))
      const service = yield* served([{ ...host, builders: { ...host.builders, probe } }])
      yield* Effect.addFinalizer(() => Deferred.succeed(gone, undefined))
      yield* service.service.drain("host")
      yield* service.service.resume("host")
      yield* Queue.take(host.probed)
      yield* service.service.drain("host")
      yield* service.service.resume("host")
      yield* service.until(host.id, "Probing")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Queue.size(host.probed), 0)

      yield* Deferred.succeed(gone, undefined)
      yield* Queue.take(host.probed)
      yield* Queue.offer(host.probes, null)
      yield* service.until(host.id, "Serving")
    }).pipe(Effect.scoped)
  )

  it.effect("are blamed for nothing that a build, or the store, may have brought about", () =>
    Effect.gen(function* () {
      const host = yield* machine("host")
      const service = yield* served([host])
      yield* lose(service, host, "sandbox", [...same, ...same])
      yield* lose(service, host, "service", several)
      yield* lose(service, host, "memory", several)

      assert.strictEqual(yield* service.stateOf(host.id), "Serving")
      assert.strictEqual(yield* Queue.size(host.probed), 0)
    }).pipe(Effect.scoped)
  )

  it.effect("whose probe does not end are not lent for that", () =>
    Effect.gen(function* () {
      const hung = yield* machine("hung")
      const service = yield* served([hung])
      yield* lose(service, hung, "host", same)
      yield* Queue.take(hung.probed)
      yield* TestClock.adjust("2 minutes")

      yield* service.until(hung.id, "Quarantined")
    }).pipe(Effect.scoped)
  )

  it.effect("are out of service as the operator says, over a restart, until they are resumed and well", () =>
    Effect.gen(function* () {
      const host = yield* machine("host")
      const operator = yield* Layer.build(remembered())
      const life = yield* Scope.make()
      const before = yield* Scope.provide(served([host], Layer.succeedContext(operator)), life)
      yield* before.service.drain("host")
      yield* before.until(host.id, "Drained")
      yield* Scope.close(life, Exit.void)

      const service = yield* served([host], Layer.succeedContext(operator))
      assert.strictEqual(yield* service.stateOf(host.id), "Drained")
      const waiting = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* service.service.resume("host")
      yield* Queue.take(host.probed)
      assert.isUndefined(waiting.pollUnsafe())
      yield* Queue.offer(host.probes, null)
      yield* Queue.offer(host.ends, "well")
      assert.strictEqual((yield* Fiber.join(waiting)).host, host.id)

      const unknown = yield* Effect.flip(service.service.drain("other"))
      assert.strictEqual(unknown.message, 'expected a host of this service (host), found "other"')
    }).pipe(Effect.scoped)
  )

  it.effect("lend nothing at the server's end, which waits for builders as long as it is told to", () =>
    Effect.gen(function* () {
      const host = yield* machine("host")
      const service = yield* served([host])
      const running = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      while ((yield* service.service.list)[0]?.builders !== 1) yield* Effect.yieldNow
      const patient = yield* Effect.forkChild(service.service.finish(Duration.hours(1)), { startImmediately: true })
      const waiting = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* TestClock.adjust("59 minutes")
      assert.isUndefined(patient.pollUnsafe())

      yield* Queue.offer(host.ends, "well")
      yield* Fiber.join(running)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(patient)
      assert.isUndefined(waiting.pollUnsafe())
    }).pipe(Effect.scoped)
  )

  it.effect("that come back meanwhile are not lent any more", () =>
    Effect.gen(function* () {
      const host = yield* machine("host")
      const service = yield* served([host])
      yield* lose(service, host, "host", same)
      yield* Queue.take(host.probed)
      const waiting = yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* service.service.finish(Duration.hours(1))

      yield* Queue.offer(host.probes, null)
      yield* service.until(host.id, "Serving")
      yield* Queue.offer(host.ends, "well")
      yield* TestClock.adjust("1 minute")

      assert.isUndefined(waiting.pollUnsafe())
    }).pipe(Effect.scoped)
  )

  it.effect("end at once where the server has no time, or nothing runs", () =>
    Effect.gen(function* () {
      const host = yield* machine("host")
      const service = yield* served([host])
      yield* service.service.finish(Duration.hours(1))

      yield* Effect.forkChild(service.attempt(), { startImmediately: true })
      yield* service.service.finish(Duration.zero)
    }).pipe(Effect.scoped)
  )

  it.effect("keep accounts apart together only if each of them does", () =>
    Effect.gen(function* () {
      const [tight, porous] = [yield* machine("tight"), yield* machine("porous", false)]
      const { pool } = yield* served([tight, porous])

      assert.isFalse(pool.kindOf("x86_64-linux").isIsolating)
      assert.isTrue((yield* served([tight])).pool.kindOf("x86_64-linux").isIsolating)
    }).pipe(Effect.scoped)
  )
})
