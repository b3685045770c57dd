/**
 * The whole service under one seed: clients that come, join, leave and come again, hosts, a disk, and the server between
 * them, which is the real one from `Builds` down; with everything going wrong that can.
 *
 * Everything is judged as it happens: each event by the same checker that judges a real record, each answer by what its
 * program would have made, each sandbox by what its host has. At the end nothing may be left of anything.
 */
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { Delivery } from "../../src/actors/Actor.ts"
import * as Hosts from "../../src/actors/builder/Hosts.ts"
import { Builds } from "../../src/actors/build/Builds.ts"
import { DisconnectGrace } from "../../src/actors/build/Keeping.ts"
import * as Recovery from "../../src/actors/build/Recovery.ts"
import type { Refused } from "../../src/actors/build/Refused.ts"
import { Ending } from "../../src/actors/Ending.ts"
import { Scheduler } from "../../src/actors/scheduler/Scheduler.ts"
import { Account, AccountId, AccountName } from "../../src/domain/Account.ts"
import type { Event } from "../../src/domain/Event.ts"
import { Checker } from "../../src/domain/Invariants.ts"
import { ViewId } from "../../src/domain/View.ts"
import { words } from "../../src/domain/Violation.ts"
import { Journal } from "../../src/storage/Journal.ts"
import type { StorageError } from "../../src/storage/StorageError.ts"
import { Chance } from "./Chance.ts"
import { Client } from "./Client.ts"
import { Disk } from "./Disk.ts"
import { Farm } from "./Farm.ts"
import * as Programs from "./Programs.ts"
import { Life, Universe } from "./Universe.ts"

/** Turns of one run, after which something goes round in circles. */
const turnsMax = 2_000_000

/** Milliseconds: the longest that anything takes to be over once everybody is served or gone. */
const settlingMax = 3_600_000

/** Messages to a build that name the attempt of which they speak. */
const fromBuilders: ReadonlySet<string> = new Set(["Exited", "Imported", "Failed", "OutOfMemory", "BuilderLost"])

/** What led to a complaint is in the last events. */
const trailMax = 200

export interface Report {
  readonly seed: number
  /** Empty when all is well. */
  readonly complaints: ReadonlyArray<string>
  /** How many times each thing happened. */
  readonly counts: Readonly<Record<string, number>>
  readonly turns: number
  readonly virtualMilliseconds: number
  readonly trail: ReadonlyArray<string>
}

export const simulate = (seed: number): Report => new Simulation(seed).report()

/** A server that runs, starts or ends. */
interface Server {
  readonly life: Life
  readonly scope: Scope.Closeable
  /** Null until it is ready. */
  services: Context.Context<Builds> | null
  isEnding: boolean
  /** Until they have ended, however their clients are gone: the doors wait for what a session still has to give back. */
  readonly sessions: Set<Fiber.Fiber<unknown, unknown>>
}

class Simulation {
  readonly #seed: number
  readonly #chance: Chance
  readonly #universe: Universe
  readonly #begun: number
  readonly #disk: Disk
  readonly #farm: Farm
  readonly #programs: ReadonlyArray<Programs.Program>
  readonly #accounts: ReadonlyArray<Account>
  readonly #clients: Array<Client> = []
  readonly #checker = new Checker()
  readonly #complaints: Array<string> = []
  readonly #trail: Array<string> = []
  readonly #counts: Record<string, number> = {}
  #run = 0
  #ordinal = 0
  #server: Server | null = null

  constructor(seed: number) {
    this.#seed = seed
    const chance = new Chance(seed)
    this.#chance = chance
    this.#universe = new Universe(chance)
    this.#begun = this.#universe.now
    this.#disk = new Disk(this.#universe, chance)
    this.#programs = Programs.some(chance.between(3, 15), chance)
    this.#farm = new Farm({
      chance,
      programs: this.#programs,
      isIsolating: chance.happens(0.7),
      // Two clients with different wishes, or one that compares, are not answered by the same build.
      mayRepeat: (identity) =>
        this.#clients.some(
          ({ program, request }) =>
            program.identity === identity && (request.check || request.settings.memoryBytesMax !== null)
        ),
      complain: (complaint) => this.#complain(complaint)
    })
    this.#accounts = Array.from({ length: chance.between(1, 4) }, (_, index) => {
      const id = uuid(chance)
      return new Account({
        id: AccountId.make(id),
        name: AccountName.make(`account-${index}`),
        view: ViewId.make(id)
      })
    })
  }

  report(): Report {
    this.#boot()
    this.#live()
    if (this.#complaints.length === 0) this.#settle()
    return {
      seed: this.#seed,
      complaints: this.#complaints,
      counts: this.#counts,
      turns: this.#universe.turns,
      virtualMilliseconds: this.#universe.now - this.#begun,
      trail: this.#trail
    }
  }

  // ---------------------------------------------------------------------------
  // judging
  // ---------------------------------------------------------------------------

  #complain(complaint: string) {
    this.#complaints.push(complaint)
  }

  #count(what: string) {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1
  }

  #note(what: string) {
    if (this.#complaints.length > 0) return
    this.#trail.push(`${this.#universe.now - this.#begun} ms  ${what}`)
    if (this.#trail.length > trailMax) this.#trail.shift()
  }

  readonly #append = (event: Event) => {
    this.#ordinal++
    this.#note(JSON.stringify(event))
    this.#count(event._tag)
    const recorded = { run: this.#run, ordinal: this.#ordinal, at: this.#universe.now, event }
    for (const violation of this.#checker.read(recorded)) this.#complain(words(violation))
  }

  // ---------------------------------------------------------------------------
  // the server
  // ---------------------------------------------------------------------------

  #boot() {
    const life = new Life(this.#universe, this.#chance)
    const server: Server = { life, scope: Scope.makeUnsafe(), services: null, isEnding: false, sessions: new Set() }
    this.#server = server
    this.#run++
    this.#ordinal = 0
    this.#append({ _tag: "ServerStarted" })
    const start = Effect.map(Layer.buildWithScope(this.#house(server), server.scope), (services) => {
      server.services = services
      this.#note("the server is ready")
      for (const client of this.#clients) if (client.state === "away") this.#comeSoon(client)
    })
    life.run(start, Context.empty()).addObserver((exit) => {
      if (Exit.isFailure(exit) && !life.isOver && !server.isEnding) {
        this.#complain(`the server did not start: ${Cause.pretty(exit.cause)}`)
      }
    })
  }

  /** As `main.ts` puts it together, with what is below the actors from here. */
  #house(server: Server): Layer.Layer<Builds, StorageError> {
    const { life } = server
    const [append, chance] = [this.#append, this.#chance]
    const journal = Layer.succeed(Journal, {
      append: (event) => Effect.sync(() => append(event)),
      written: Effect.void
    })
    const random = Layer.succeed(
      SecureRandom.SecureRandom,
      SecureRandom.make((size) => Uint8Array.from({ length: size }, () => chance.below(256)))
    )
    // What builders say comes twice now and then, the second time too late.
    const delivery = Layer.succeed(Delivery, (deliver, message) => {
      deliver()
      if (!fromBuilders.has(message._tag) || !chance.happens(0.1)) return
      this.#count("words said twice")
      life.after(chance.below(5000), deliver)
    })
    return Recovery.layer.pipe(
      Layer.provideMerge(Builds.layer),
      Layer.provide(Layer.succeed(DisconnectGrace, Duration.seconds(30))),
      Layer.provideMerge(Hosts.layer(this.#farm.members(life))),
      Layer.provideMerge(Scheduler.layer(this.#farm.hosts)),
      Layer.provideMerge(Recovery.record),
      Layer.provideMerge(this.#disk.layers(life)),
      Layer.provideMerge(
        Layer.mergeAll(
          random,
          journal,
          delivery,
          Layer.succeed(Ending, () => server.isEnding)
        )
      )
    )
  }

  /** Killed: whoever waited hears nothing more, and most come again. */
  #crash() {
    this.#note("the server is killed")
    this.#count("kills")
    this.#server?.life.crash()
    this.#over()
  }

  /** Told to end: it cuts off whoever waits, and hands on what they wait for. */
  #end() {
    const server = this.#server
    if (server === null || server.isEnding || server.services === null) return
    this.#note("the server is told to end")
    this.#count("ends")
    server.isEnding = true
    const closing = Effect.andThen(Fiber.interruptAll(server.sessions), Scope.close(server.scope, Exit.void))
    server.life.run(closing, Context.empty()).addObserver((exit) => {
      if (Exit.isFailure(exit)) this.#complain(`the server did not end well: ${Cause.pretty(exit.cause)}`)
      this.#append({ _tag: "ServerStopped" })
      server.life.crash()
      this.#over()
    })
  }

  #over() {
    this.#server = null
    this.#farm.crash()
    for (const client of this.#clients) {
      if (client.state !== "waiting") continue
      client.state = this.#chance.happens(0.9) ? "away" : "gone"
      client.fiber = null
    }
    // What was on its way to the disk has arrived by then.
    this.#universe.wake(this.#chance.between(50, 2000), () => this.#boot())
  }

  // ---------------------------------------------------------------------------
  // clients
  // ---------------------------------------------------------------------------

  #arrive() {
    const chance = this.#chance
    const waiting = this.#clients.filter(({ state }) => state === "waiting")
    const program =
      waiting.length > 0 && chance.happens(0.4) ? chance.pick(waiting).program : chance.pick(this.#programs)
    const client = new Client(`client ${this.#clients.length}`, chance.pick(this.#accounts), program, chance)
    this.#clients.push(client)
    this.#comeSoon(client)
    // One in five loses patience, or its connection.
    if (chance.happens(0.2)) {
      this.#universe.wake(chance.below(20_000), () => this.#leave(client, chance.happens(0.5) ? "left" : "silent"))
    }
  }

  #comeSoon(client: Client) {
    this.#server?.life.after(this.#chance.below(1500), () => this.#come(client))
  }

  #come(client: Client) {
    const server = this.#server
    if (server === null || server.services === null || server.isEnding || client.state !== "away") return
    this.#note(`${client.name} of ${client.account.name} asks for ${client.program.name}`)
    this.#count("requests")
    client.state = "waiting"
    const fiber = server.life.run(client.session, server.services)
    client.fiber = fiber
    server.sessions.add(fiber)
    fiber.addObserver((exit) => {
      server.sessions.delete(fiber)
      if (server.life.isOver || client.fiber !== fiber || client.state !== "waiting") return
      client.fiber = null
      if (Exit.isFailure(exit)) return this.#refused(client, exit.cause, server)
      client.state = "answered"
      this.#note(`${client.name} is told ${exit.value.status} ${exit.value.message}`)
      this.#count(`told ${exit.value.status}`)
      const wrong = client.judge(exit.value, this.#disk.rows, this.#clients)
      if (wrong !== null) this.#complain(`${client.name}, who asked for ${client.program.name}, ${wrong}`)
    })
  }

  #refused(client: Client, cause: Cause.Cause<Refused>, { isEnding }: Server) {
    if (isEnding && Cause.hasInterruptsOnly(cause)) {
      client.state = "away"
      return
    }
    client.state = "answered"
    this.#complain(`${client.name}, who asked for ${client.program.name}, met a defect: ${Cause.pretty(cause)}`)
  }

  #leave(client: Client, how: "left" | "silent") {
    if (client.state !== "waiting" || this.#server === null || this.#server.isEnding) return
    this.#note(`${client.name} ${how === "left" ? "leaves" : "falls silent"}`)
    this.#count(how === "left" ? "left" : "fell silent")
    client.departure = how
    client.state = how === "silent" && this.#chance.happens(0.7) ? "away" : "gone"
    client.fiber?.interruptUnsafe()
    client.fiber = null
    if (client.state === "away") this.#universe.wake(this.#chance.below(20_000), () => this.#come(client))
  }

  get #isServed() {
    return !this.#clients.some(({ state }) => state === "waiting" || state === "away")
  }

  // ---------------------------------------------------------------------------
  // the course of things
  // ---------------------------------------------------------------------------

  #live() {
    const chance = this.#chance
    let arriving = chance.between(5, 60)
    let mishaps = chance.happens(0.3) ? 0 : chance.between(0, 12)
    const crowding = chance.between(1, 400)
    while (this.#complaints.length === 0) {
      const left = arriving + mishaps
      if (left > 0 && (chance.below(crowding) === 0 || this.#isServed)) {
        if (chance.below(left) < arriving) {
          arriving--
          this.#arrive()
        } else {
          mishaps--
          this.#mishap()
        }
      } else if (left === 0 && this.#isServed) return
      else if (!this.#universe.step() && left === 0) return
      if (this.#universe.turns > turnsMax) return this.#complain(`${turnsMax} turns, and no end`)
    }
  }

  #mishap() {
    const chance = this.#chance
    switch (chance.below(5)) {
      case 0:
        return this.#server === null ? undefined : this.#crash()
      case 1:
        return this.#end()
      case 2:
        this.#count("sandboxes lost")
        return this.#farm.loseOne()
      case 3:
        this.#count("hosts lost")
        return this.#farm.loseHost()
      default:
        this.#count("troubles of the disk")
        this.#disk.trouble = chance.next() * 0.5
        this.#universe.wake(chance.below(3000), () => {
          this.#disk.trouble = 0
        })
    }
  }

  /** Everybody is served or gone: now nothing may be left, and the server ends well. */
  #settle() {
    const until = this.#universe.now + settlingMax
    while (this.#universe.now < until && this.#complaints.length === 0 && this.#universe.step()) {
      if (this.#universe.turns > turnsMax) return this.#complain(`${turnsMax} turns, and no end`)
    }
    const { builds, leases, waiters } = this.#checker.open
    const { open, running, waits } = this.#disk.rows
    const left = {
      "who waits": this.#clients.filter(({ state }) => state === "waiting" || state === "away").map(({ name }) => name),
      "a build": builds,
      "a lease": leases,
      "a waiter": waiters,
      "a sandbox": [...this.#farm.sandboxes].map(({ identity }) => identity),
      "an attempt on record": running,
      "a build on record": open,
      "a wait on record": waits
    }
    for (const [what, names] of Object.entries(left)) {
      if (names.length > 0) this.#complain(`expected nothing to be left, found ${what}: ${names.join(", ")}`)
    }
    if (this.#complaints.length > 0) return
    this.#end()
    for (let turn = 0; turn < 100_000 && this.#server !== null && this.#universe.step(); turn++);
    if (this.#server !== null) this.#complain("the server does not end")
  }
}

const uuid = (chance: Chance) =>
  `${hex(chance, 8)}-${hex(chance, 4)}-7${hex(chance, 3)}-8${hex(chance, 3)}-${hex(chance, 12)}`
const hex = (chance: Chance, count: number) =>
  Array.from({ length: count }, () => chance.below(16).toString(16)).join("")
