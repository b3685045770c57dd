/**
 * The server of a simulation, which is the real one from its sessions down: it starts, is killed, is told to end, and
 * starts again.
 */
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { Delivery } from "../../src/actors/Actor.ts"
import * as Hosts from "../../src/actors/builder/Hosts.ts"
import { Builds } from "../../src/actors/build/Builds.ts"
import { DisconnectGrace } from "../../src/actors/build/Keeping.ts"
import * as Recovery from "../../src/actors/build/Recovery.ts"
import { Ending } from "../../src/actors/Ending.ts"
import * as QuotaBuilds from "../../src/actors/quota/QuotaBuilds.ts"
import { Quotas } from "../../src/actors/quota/Quotas.ts"
import * as QuotaScheduler from "../../src/actors/quota/QuotaScheduler.ts"
import { Scheduler } from "../../src/actors/scheduler/Scheduler.ts"
import type * as WorkerSession from "../../src/actors/session/WorkerSession.ts"
import { Journal } from "../../src/storage/Journal.ts"
import type { StorageError } from "../../src/storage/StorageError.ts"
import type { Chance } from "./Chance.ts"
import type { Disk } from "./Disk.ts"
import type { Session } from "./Doors.ts"
import type { Farm } from "./Farm.ts"
import type { Judge } from "./Judge.ts"
import { Life, type Universe } from "./Universe.ts"

/** Messages to a build that name the attempt of which they speak. */
const fromBuilders: ReadonlySet<string> = new Set(["Exited", "Imported", "Failed", "OutOfMemory", "BuilderLost"])

/** Milliseconds: what runs may go on for as long, where a server that is told to end waits for it. */
const drainMax = 20_000

export type Services = Builds | Hosts.Hosts | WorkerSession.Services

/** One that runs, starts or ends. */
export interface Run {
  readonly life: Life
  readonly scope: Scope.Closeable
  /** Null until it is ready. */
  services: Context.Context<Services> | null
  /** It has been told to end. */
  isDraining: boolean
  /** What is under way is handed on. */
  isEnding: boolean
  /** Until they have ended, however their clients are gone: the doors wait for what a session still has to give back. */
  readonly sessions: Set<Session>
}

export interface Options {
  readonly universe: Universe
  readonly chance: Chance
  readonly judge: Judge
  readonly disk: Disk
  readonly farm: Farm
  readonly onReady: () => void
  /** It is gone, in whichever way; another one is on its way. */
  readonly onGone: () => void
}

export class Server {
  /** The one there is at the moment. */
  run: Run | null = null
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  /** Whether a client may come in. */
  get isOpen(): boolean {
    return this.run !== null && this.run.services !== null && !this.run.isEnding
  }

  boot() {
    const { chance, judge, onReady, universe } = this.#options
    const life = new Life(universe, chance)
    const state = { services: null, isDraining: false, isEnding: false, sessions: new Set<Session>() }
    const run: Run = { life, scope: Scope.makeUnsafe(), ...state }
    this.run = run
    judge.begin()
    const start = Effect.map(Layer.buildWithScope(this.#house(run), run.scope), (services) => {
      run.services = services
      judge.note("the server is ready")
      onReady()
    })
    life.run(start, Context.empty()).addObserver((exit) => {
      if (Exit.isFailure(exit) && !life.isOver && !run.isEnding) {
        judge.complain(`the server did not start: ${Cause.pretty(exit.cause)}`)
      }
    })
  }

  /** As `main.ts` puts it together, with what is below the actors from here. */
  #house(run: Run): Layer.Layer<Services, StorageError> {
    const { chance, disk, farm, judge } = this.#options
    const { life } = run
    const journal = Layer.succeed(Journal, {
      append: (event) => Effect.sync(() => judge.append(event)),
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
      judge.count("words said twice")
      life.after(chance.below(5000), deliver)
    })
    const actors = QuotaBuilds.layer.pipe(
      Layer.provide(Builds.layer),
      Layer.provide(Layer.succeed(DisconnectGrace, Duration.seconds(30))),
      Layer.provideMerge(Hosts.layer(farm.members(life))),
      Layer.provideMerge(QuotaScheduler.layer.pipe(Layer.provide(Scheduler.layer(farm.hosts))))
    )
    return Recovery.layer.pipe(
      Layer.provideMerge(actors),
      Layer.provideMerge(Quotas.layer({ storedBytes: null })),
      Layer.provideMerge(Recovery.record),
      Layer.provideMerge(disk.layers(life)),
      Layer.provideMerge(
        Layer.mergeAll(
          random,
          journal,
          delivery,
          Layer.succeed(Ending, () => run.isEnding)
        )
      )
    )
  }

  /** Killed: whoever waited hears nothing more, and most come again. */
  crash() {
    const { judge } = this.#options
    if (this.run === null) return
    judge.note("the server is killed")
    judge.count("kills")
    this.run.life.crash()
    this.#gone()
  }

  /** Told to end: some let go on for a while what runs; then it cuts off whoever waits, and hands on what they wait for. */
  end() {
    const { chance, judge } = this.#options
    const { run } = this
    if (run === null || run.services === null || run.isDraining) return
    run.isDraining = true
    const patience = Duration.millis(chance.happens(0.5) ? 0 : chance.below(drainMax))
    judge.note(`the server is told to end within ${Duration.toMillis(patience)} ms`)
    judge.count("ends")
    const closing = Effect.gen(function* () {
      yield* (yield* Hosts.Hosts).finish(patience)
      run.isEnding = true
      yield* Fiber.interruptAll([...run.sessions].map(({ fiber }) => fiber))
      yield* Scope.close(run.scope, Exit.void)
    })
    run.life.run(closing, run.services).addObserver((exit) => {
      if (Exit.isFailure(exit)) judge.complain(`the server did not end well: ${Cause.pretty(exit.cause)}`)
      judge.append({ _tag: "ServerStopped" })
      run.life.crash()
      this.#gone()
    })
  }

  #gone() {
    const { chance, farm, onGone, universe } = this.#options
    this.run = null
    farm.crash()
    onGone()
    // What was on its way to the disk has arrived by then.
    universe.wake(chance.between(50, 2000), () => this.boot())
  }
}
