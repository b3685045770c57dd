/**
 * The whole service under one seed: clients that come, join, leave and come again, by sessions and without, hosts, a
 * disk, and the server between them; with everything going wrong that can.
 *
 * Everything is judged as it happens: each event by the same checker that judges a real record, each answer by what its
 * program would have made, each refusal by what the account may have, each sandbox by what its host has. At the end
 * nothing may be left of anything.
 */
import { Cause, Context, Effect, Exit } from "effect"
import * as Hosts from "../../src/actors/builder/Hosts.ts"
import { Refused } from "../../src/actors/build/Refused.ts"
import { Quotas } from "../../src/actors/quota/Quotas.ts"
import { Account, AccountId, AccountName } from "../../src/domain/Account.ts"
import { ViewId } from "../../src/domain/View.ts"
import { Allowances } from "./Allowances.ts"
import { Chance } from "./Chance.ts"
import { Client, type Verdict } from "./Client.ts"
import * as Dialogue from "./Dialogue.ts"
import { Disk } from "./Disk.ts"
import * as Doors from "./Doors.ts"
import { Farm } from "./Farm.ts"
import { Judge } from "./Judge.ts"
import * as Programs from "./Programs.ts"
import { type Run, Server, type Services } from "./Server.ts"
import { Life, Universe } from "./Universe.ts"

/** Turns of one run, after which something goes round in circles. */
const turnsMax = 2_000_000

/** Milliseconds: the longest that anything takes to be over once everybody is served or gone. */
const settlingMax = 3_600_000

export interface Report {
  readonly seed: number
  /** Empty when all is well. */
  readonly complaints: ReadonlyArray<string>
  /** How many times each thing happened. */
  readonly counts: Readonly<Record<string, number>>
  readonly turns: number
  readonly virtualMilliseconds: number
  /** Of all that happened: the same for the same seed. */
  readonly digest: string
  readonly trail: ReadonlyArray<string>
}

export const simulate = (seed: number): Report => new Simulation(seed).report()

class Simulation {
  readonly #seed: number
  readonly #chance: Chance
  readonly #universe: Universe
  readonly #begun: number
  /** Of those who come by sessions: no server's end touches it. */
  readonly #outside: Life
  readonly #judge: Judge
  readonly #disk: Disk
  readonly #farm: Farm
  readonly #server: Server
  readonly #programs: ReadonlyArray<Programs.Program>
  readonly #accounts: ReadonlyArray<Account>
  readonly #allowances: Allowances
  readonly #clients: Array<Client> = []

  constructor(seed: number) {
    this.#seed = seed
    const chance = new Chance(seed)
    const universe = new Universe(chance)
    const judge = new Judge(universe, chance)
    this.#chance = chance
    this.#universe = universe
    this.#judge = judge
    this.#begun = universe.now
    this.#outside = new Life(universe, chance)
    this.#disk = new Disk(universe, chance)
    this.#programs = Programs.some(chance.between(3, 40), chance)
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
      complain: judge.complain
    })
    this.#accounts = Array.from({ length: chance.between(1, 4) }, (_, index) => {
      const id = uuid(chance)
      return new Account({
        id: AccountId.make(id),
        name: AccountName.make(`account-${index}`),
        view: ViewId.make(id)
      })
    })
    this.#allowances = new Allowances(this.#accounts)
    for (const { id } of this.#accounts) this.#disk.rows.setQuotas(id, this.#allowances.first(id, chance))
    judge.add(this.#allowances.rule)
    this.#server = new Server({
      universe,
      chance,
      judge,
      disk: this.#disk,
      farm: this.#farm,
      onReady: () => {
        for (const client of this.#clients) if (client.state === "away") this.#comeSoon(client)
      },
      onGone: () => this.#cutOff()
    })
  }

  report(): Report {
    this.#server.boot()
    this.#live()
    if (this.#judge.isContent) this.#settle()
    const { complaints, counts, digest, trail } = this.#judge
    const virtualMilliseconds = this.#universe.now - this.#begun
    return { seed: this.#seed, complaints, counts, turns: this.#universe.turns, virtualMilliseconds, digest, trail }
  }

  // ---------------------------------------------------------------------------
  // clients
  // ---------------------------------------------------------------------------

  #arrive(account = this.#chance.pick(this.#accounts)) {
    const chance = this.#chance
    const waiting = this.#clients.filter(({ state }) => state === "waiting")
    const program =
      waiting.length > 0 && chance.happens(0.4) ? chance.pick(waiting).program : chance.pick(this.#programs)
    const client = new Client(`client ${this.#clients.length}`, account, program, chance)
    this.#clients.push(client)
    this.#comeSoon(client)
    // One in five loses patience, or its connection.
    if (chance.happens(0.2)) {
      this.#universe.wake(chance.below(20_000), () => this.#leave(client, chance.happens(0.5) ? "left" : "silent"))
    }
  }

  /** One account asks for as much as it can at once. */
  #flood() {
    this.#judge.count("floods")
    const account = this.#chance.pick(this.#accounts)
    for (let left = this.#chance.between(10, 30); left > 0; left--) this.#arrive(account)
  }

  #comeSoon(client: Client, milliseconds = 1500) {
    this.#server.run?.life.after(this.#chance.below(milliseconds), () => this.#come(client))
  }

  #come(client: Client) {
    const { run } = this.#server
    if (run === null || run.services === null || run.isEnding || client.state !== "away") return
    this.#judge.note(`${client.name} of ${client.account.name} asks for ${client.program.name} by ${client.way}`)
    this.#judge.count("requests")
    client.state = "waiting"
    client.begin()
    client.peak = 0
    const others = [...run.sessions].filter(({ account }) => account === client.account.id)
    for (const each of this.#clients) {
      if (each.state === "waiting" && each.account === client.account)
        each.peak = Math.max(each.peak, others.length + 1)
    }
    if (client.way === "direct") this.#ask(client, run, run.services)
    else this.#connect(client, run, run.services)
  }

  #ask(client: Client, run: Run, services: Context.Context<Services>) {
    const fiber = run.life.run(client.direct, services)
    const session = { account: client.account.id, fiber }
    client.fiber = fiber
    run.sessions.add(session)
    fiber.addObserver((exit) => {
      run.sessions.delete(session)
      if (run.life.isOver || client.fiber !== fiber || client.state !== "waiting") return
      if (Exit.isSuccess(exit)) return this.#told(client, exit.value)
      if (run.isEnding && Cause.hasInterruptsOnly(exit.cause)) {
        client.state = "away"
        return
      }
      const refusal = Cause.squash(exit.cause)
      if (refusal instanceof Refused && refusal.status === "TransientFailure") {
        return this.#heed(client, client.refused(refusal.detail, this.#known))
      }
      this.#met(client, exit.cause)
    })
  }

  #connect(client: Client, run: Run, services: Context.Context<Services>) {
    const { complain } = this.#judge
    const { life, sessions } = run
    const chance = this.#chance
    const { wire } = Doors.admit(client, { chance, life, outside: this.#outside, services, sessions, complain })
    client.wire = wire
    const dialogue = client.way === "serve" ? Dialogue.serve : Dialogue.worker
    const asked = { ...client.request, path: client.program.output.path }
    const fiber = this.#outside.run(dialogue(wire.end, asked, chance), Context.empty())
    client.fiber = fiber
    fiber.addObserver((exit) => {
      if (client.fiber !== fiber || client.state !== "waiting") return
      if (Exit.isSuccess(exit)) {
        const verdict = client.hear(exit.value)
        return verdict === "right" ? this.#told(client, exit.value.result) : this.#heed(client, verdict)
      }
      if (run.isEnding || life.isOver) return this.#lose(client)
      if (this.#allowances.named(wire.end.errors) === "connections") {
        return this.#heed(client, client.refused(wire.end.errors, this.#known))
      }
      this.#met(client, exit.cause)
    })
  }

  #told(client: Client, result: Parameters<Client["judge"]>[0]) {
    this.#judge.note(`${client.name} is told ${result.status} ${result.error}`)
    this.#judge.count(`told ${result.status}`)
    this.#heed(client, client.judge(result, this.#known))
  }

  #heed(client: Client, verdict: Verdict) {
    client.state = "answered"
    client.fiber = null
    if (verdict === "refused") {
      this.#judge.count("refused by a quota")
      // What is stored is there to stay.
      const isFull =
        this.#disk.rows.storedBytes(client.account.view) > this.#allowances.bounds(client.account.id, "stored").least
      client.state = isFull || this.#chance.happens(0.2) ? "gone" : "away"
      if (client.state === "away") this.#universe.wake(this.#chance.below(10_000), () => this.#comeSoon(client))
    } else if (verdict !== "right") {
      this.#judge.complain(`${client.name}, who asked for ${client.program.name} by ${client.way}, ${verdict.wrong}`)
    }
  }

  #met(client: Client, cause: Cause.Cause<unknown>) {
    this.#heed(client, { wrong: `met a defect: ${Cause.pretty(cause)}` })
  }

  /** The server has cut it off. */
  #lose(client: Client) {
    client.state = this.#chance.happens(0.9) ? "away" : "gone"
    client.fiber = null
    if (client.state === "away" && this.#server.isOpen) this.#comeSoon(client)
  }

  #cutOff() {
    for (const client of this.#clients) {
      if (client.way !== "direct") client.wire?.cut()
      else if (client.state === "waiting") this.#lose(client)
    }
  }

  #leave(client: Client, how: "left" | "silent") {
    const { run } = this.#server
    if (client.state !== "waiting" || run === null || run.isEnding) return
    this.#judge.note(`${client.name} ${how === "left" ? "leaves" : "falls silent"}`)
    this.#judge.count(how === "left" ? "left" : "fell silent")
    client.departure = how
    client.state = how === "silent" && this.#chance.happens(0.7) ? "away" : "gone"
    client.fiber?.interruptUnsafe()
    client.fiber = null
    if (how === "silent") client.wire?.fallSilent()
    else client.wire?.leave()
    if (client.state === "away") this.#universe.wake(this.#chance.below(20_000), () => this.#come(client))
  }

  get #known() {
    return { rows: this.#disk.rows, farm: this.#farm, allowances: this.#allowances, clients: this.#clients }
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
    if (chance.happens(0.2)) this.#universe.wake(chance.below(60_000), () => this.#flood())
    while (this.#judge.isContent) {
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
      if (this.#universe.turns > turnsMax) return this.#judge.complain(`${turnsMax} turns, and no end`)
    }
  }

  #mishap() {
    const chance = this.#chance
    switch (chance.below(7)) {
      case 0:
        return this.#server.crash()
      case 1:
        return this.#server.end()
      case 2:
        this.#judge.count("sandboxes lost")
        return this.#farm.loseOne()
      case 3:
        this.#judge.count("hosts lost")
        return this.#farm.loseHost()
      case 4:
        return this.#drain()
      case 5:
        return this.#sayAnew()
      default:
        this.#judge.count("troubles of the disk")
        this.#disk.trouble = chance.next() * 0.5
        this.#universe.wake(chance.below(3000), () => {
          this.#disk.trouble = 0
        })
    }
  }

  /** The operator takes a host out of service, and back some time later, under whichever server. */
  #drain() {
    const { id } = this.#chance.pick(this.#farm.hosts)
    this.#judge.count("hosts drained")
    const set = (isDrained: boolean): Effect.Effect<void, unknown, Services> =>
      Effect.flatMap(Hosts.Hosts, (hosts) => (isDrained ? hosts.drain(id) : hosts.resume(id)))
    this.#operate(set(true), () => {})
    const resume = () => this.#operate(set(false), () => this.#universe.wake(1000, resume))
    this.#universe.wake(this.#chance.between(1000, 30_000), resume)
  }

  /** The operator says something of a quota. */
  #sayAnew() {
    const [account, name, amount] = this.#allowances.change(this.#chance)
    this.#judge.count("quotas changed")
    this.#operate(
      Effect.flatMap(Quotas, (quotas) => quotas.set(account, name, amount)),
      () => {}
    )
  }

  /** What the operator asks of the server, which may fail, or find none. */
  #operate(effect: Effect.Effect<void, unknown, Services>, failed: () => void) {
    const { run } = this.#server
    if (run === null || run.services === null) return failed()
    let isOver = false
    const end = (isDone: boolean) => {
      if (!isOver && !isDone) failed()
      isOver = true
    }
    run.life.run(effect, run.services).addObserver((exit) => end(Exit.isSuccess(exit)))
    // Whoever has no answer by then asks again.
    this.#universe.wake(5000, () => end(false))
  }

  /** Everybody is served or gone: now nothing may be left, and the server ends well. */
  #settle() {
    const until = this.#universe.now + settlingMax
    while (this.#universe.now < until && this.#judge.isContent && this.#universe.step()) {
      if (this.#universe.turns > turnsMax) return this.#judge.complain(`${turnsMax} turns, and no end`)
    }
    const { builds, leases, waiters } = this.#judge.open
    const { open, running, waits } = this.#disk.rows
    const left = {
      "who waits": this.#clients.filter(({ state }) => state === "waiting" || state === "away").map(({ name }) => name),
      "a session": [...(this.#server.run?.sessions ?? [])].map(({ account }) => account),
      "a build": builds,
      "a lease": leases,
      "a waiter": waiters,
      "a sandbox": [...this.#farm.sandboxes].map(({ identity }) => identity),
      "an attempt on record": running,
      "a build on record": open,
      "a wait on record": waits
    }
    for (const [what, names] of Object.entries(left)) {
      if (names.length > 0) this.#judge.complain(`expected nothing to be left, found ${what}: ${names.join(", ")}`)
    }
    if (!this.#judge.isContent) return
    this.#server.end()
    for (let turn = 0; turn < 100_000 && this.#server.run !== null && this.#universe.step(); turn++);
    if (this.#server.run !== null) this.#judge.complain("the server does not end")
  }
}

const uuid = (chance: Chance) =>
  `${hex(chance, 8)}-${hex(chance, 4)}-7${hex(chance, 3)}-8${hex(chance, 3)}-${hex(chance, 12)}`
const hex = (chance: Chance, count: number) =>
  Array.from({ length: count }, () => chance.below(16).toString(16)).join("")
