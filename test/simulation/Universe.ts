/**
 * Fibers and time under one seed.
 *
 * A life is what one process is: fibers that run, and sleep, until it ends. Of all fibers that could go on, chance picks
 * the next, and it goes on for a number of operations that chance picks, too; so everything happens in some order that
 * it could happen in, and the same seed makes the same order again. When nobody can go on, the clock moves to whoever
 * wakes first. Nothing waits for the machine that this runs on.
 *
 * A life that crashes stops between two operations of whichever fiber was to go on: nothing of it runs any more, no
 * finalizer either.
 */
import { Clock, Context, Duration, Effect, type Fiber, References, Scheduler } from "effect"
import type { Chance } from "./Chance.ts"

/**
 * A fiber may run this many operations before another may have its turn, by each life's own habit: where it is few,
 * whatever can come in between does; where it is many, more happens in the same time.
 */
const habits = [30, 200, 1000, 1000]

interface Sleep {
  readonly at: number
  readonly wake: () => void
}

export class Life {
  isOver = false
  readonly #universe: Universe
  readonly scheduler: Scheduler.Scheduler
  readonly clock: Clock.Clock

  constructor(universe: Universe, chance: Chance) {
    this.#universe = universe
    const operationsMax = chance.pick(habits)
    let budget = chance.between(1, operationsMax)
    const dispatcher: Scheduler.SchedulerDispatcher = {
      scheduleTask: (task) => universe.schedule(this, task),
      flush: () => {}
    }
    this.scheduler = {
      executionMode: "async",
      // Never before the first, as Effect's own: a fiber that is interrupted before it starts relies on that.
      shouldYield: ({ currentOpCount }) => {
        if (--budget > 0 || currentOpCount < 2) return false
        budget = chance.between(1, operationsMax)
        return true
      },
      makeDispatcher: () => dispatcher
    }
    const nanos = () => BigInt(universe.now) * 1_000_000n
    this.clock = {
      currentTimeMillisUnsafe: () => universe.now,
      currentTimeMillis: Effect.sync(() => universe.now),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: nanos,
      monotonicTimeNanos: Effect.sync(nanos),
      sleep: (duration) => this.sleep(Duration.toMillis(duration))
    }
  }

  /** Whole milliseconds, so that no two machines round differently. */
  readonly sleep = (milliseconds: number): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      if (milliseconds === Infinity) return
      const cancel = this.after(milliseconds, () => resume(Effect.void))
      return Effect.sync(cancel)
    })

  /** Not if the life is over by then. Gives how to call it off. */
  readonly after = (milliseconds: number, wake: () => void): (() => void) =>
    this.#universe.wake(Math.max(0, Math.ceil(milliseconds)), () => {
      if (!this.isOver) this.#universe.schedule(this, wake)
    })

  /** As one of those that could go on, unless the life is over by then. */
  soon(task: () => void) {
    this.#universe.schedule(this, task)
  }

  /** Begins an effect in this life; `done` hears how it ended, unless the life ended first. */
  run<A, E, R>(effect: Effect.Effect<A, E, R>, context: Context.Context<R>): Fiber.Fiber<A, E> {
    const surroundings = Context.mergeAll(
      context,
      Context.make(Scheduler.Scheduler, this.scheduler),
      Context.make(Clock.Clock, this.clock),
      Context.make(References.MinimumLogLevel, "None")
    )
    return Effect.runForkWith(surroundings)(effect)
  }

  crash() {
    this.isOver = true
    this.#universe.forget(this)
  }
}

export class Universe {
  /** Milliseconds since the epoch; any will do. */
  now = 1_800_000_000_000
  /** Turns taken so far. */
  turns = 0
  readonly #chance: Chance
  #ready: Array<{ readonly life: Life; readonly task: () => void }> = []
  /** The first to wake is the last. */
  readonly #sleeps: Array<Sleep> = []

  constructor(chance: Chance) {
    this.#chance = chance
  }

  schedule(life: Life, task: () => void) {
    if (!life.isOver) this.#ready.push({ life, task })
  }

  wake(milliseconds: number, wake: () => void): () => void {
    const sleep = { at: this.now + milliseconds, wake }
    let [low, high] = [0, this.#sleeps.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#sleeps[middle]!.at > sleep.at) low = middle + 1
      else high = middle
    }
    this.#sleeps.splice(low, 0, sleep)
    return () => {
      const at = this.#sleeps.indexOf(sleep)
      if (at >= 0) this.#sleeps.splice(at, 1)
    }
  }

  forget(life: Life) {
    this.#ready = this.#ready.filter((each) => each.life !== life)
  }

  /** Lets one fiber go on, or else time; false when neither can. */
  step(): boolean {
    this.turns++
    const count = this.#ready.length
    if (count === 0) return this.#advance()
    const at = this.#chance.below(count)
    const { task } = this.#ready[at]!
    // The order of those that wait is chance anyway.
    this.#ready[at] = this.#ready[count - 1]!
    this.#ready.pop()
    task()
    return true
  }

  #advance(): boolean {
    const next = this.#sleeps.pop()
    if (next === undefined) return false
    this.now = Math.max(this.now, next.at)
    next.wake()
    return true
  }
}
