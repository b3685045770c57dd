/**
 * The builds under way, each shared by all who may wait for it.
 *
 * A build lives as long as somebody waits: the last to leave ends it. Whoever comes joins one of the same words that
 * has at least the room they would get themselves, or starts their own. A build that has its answer is joined no more:
 * who comes then is answered by the record, by the rules for that.
 *
 * A build is not started again until the last sandbox of it is confirmed gone, which the lock of its words sees to: it
 * outlives the build, and its release comes last. Whoever gets it looks into the record first, since the build that
 * held it may have left the answer there.
 */
import { Deferred, Effect, Exit, Fiber, RcMap, Scope, Semaphore } from "effect"
import type { Outcome } from "../../domain/Attempt.ts"
import { Ending } from "../Ending.ts"
import type { Build } from "./Build.ts"

/** What a build has, or would have. */
export interface Room {
  readonly cores: number
  readonly memoryBytes: number
  readonly memoryBytesMax: number
}

export interface Asked<A> {
  /** Same words, same build. */
  readonly words: string
  readonly room: Room
  /** What answers without a build; null if nothing does. */
  readonly answered: Effect.Effect<A | null>
  /** Starts a build, in a scope whose closing ends it. */
  readonly begin: Effect.Effect<Build, never, Scope.Scope>
}

/** How a waiter leaves: of the last one, that is how the build ends. */
export interface Leaving {
  readonly outcome: Outcome
  /** The limit that was reached. */
  readonly limitSeconds: number | null
}

export interface Joined {
  readonly build: Build
  /** To be said before the scope closes. */
  readonly leaving: (how: Leaving) => void
}

export interface Running {
  /** Waits with others, or for a build that is started, until the scope closes; or what answers without a build. */
  readonly join: <A>(asked: Asked<A>) => Effect.Effect<Joined | { readonly answered: A }, never, Scope.Scope>
}

interface Entry {
  readonly words: string
  readonly room: Room
  readonly scope: Scope.Closeable
  /** False when it came to be that no build is needed. */
  readonly begun: Deferred.Deferred<Build | false>
  starting: Fiber.Fiber<unknown> | null
  waiters: number
  left: Leaving
}

/** The memory of its first attempt is no limit of a build: one that runs out of it goes again with more, unseen. */
const dominates = (one: Room, other: Room): boolean =>
  one.cores >= other.cores && one.memoryBytesMax >= other.memoryBytesMax

const print = ({ cores, memoryBytesMax }: Room) => `${cores}/${memoryBytesMax}`

/** `end`: what is to be done once a build has been left by all, and is gone. */
export const make = Effect.fnUntraced(function* (options: {
  readonly end: (build: Build, left: Leaving) => Effect.Effect<void>
}): Effect.fn.Return<Running, never, Scope.Scope> {
  const owner = yield* Effect.scope
  const isEnding = yield* Ending
  const joinable = new Map<string, Set<Entry>>()
  const locks = yield* RcMap.make({ lookup: (_: string) => Semaphore.make(1) })

  const remove = (entry: Entry) => {
    const entries = joinable.get(entry.words)
    entries?.delete(entry)
    if (entries?.size === 0) joinable.delete(entry.words)
  }

  const find = ({ room, words }: Asked<unknown>): Entry | undefined =>
    [...(joinable.get(words) ?? [])].find((entry) => dominates(entry.room, room))

  /** Holds the lock until the scope closes; or finds that the build which held it left an answer. */
  const lock = Effect.fnUntraced(function* (words: string, answered: Effect.Effect<unknown>) {
    const lock = yield* RcMap.get(locks, words)
    const isFree = yield* Effect.acquireRelease(lock.takeIfAvailable(1), (taken) =>
      taken ? lock.release(1) : Effect.void
    )
    if ((yield* answered) !== null) return false
    if (isFree) return true
    // Whoever waits for it may leave.
    yield* Effect.acquireRelease(lock.take(1), () => lock.release(1), { interruptible: true })
    return (yield* answered) === null
  })

  const work = Effect.fnUntraced(function* (entry: Entry, { answered, begin, room, words }: Asked<unknown>) {
    // Builds of one identity that differ in room run side by side: neither is the other's answer.
    const locked = yield* Effect.flatMap(Effect.scope, Scope.fork)
    if (!(yield* Scope.provide(lock(`${words} ${print(room)}`, answered), locked))) return false
    const end = (build: Build) =>
      Effect.suspend(() =>
        isEnding() ? build.handOn : Effect.andThen(build.cancel(entry.left.outcome), options.end(build, entry.left))
      )
    // What has been begun is ended by this and nothing else, so nobody's leaving may come in between.
    const build = yield* Effect.uninterruptible(Effect.tap(begin, (build) => Effect.addFinalizer(() => end(build))))
    // One that has come to its end is out of the next one's way, however long those who waited for it stay and listen.
    yield* Effect.gen(function* () {
      const { end } = yield* build.result.pipe(Effect.ensuring(Effect.sync(() => remove(entry))))
      if (end._tag === "Cancelled") return
      yield* build.gone
      yield* Scope.close(locked, Exit.void)
    }).pipe(Effect.exit, Effect.forkScoped)
    return build
  })

  const start = Effect.fnUntraced(function* (asked: Asked<unknown>) {
    const entry: Entry = {
      words: asked.words,
      room: asked.room,
      scope: Scope.forkUnsafe(owner),
      begun: Deferred.makeUnsafe(),
      starting: null,
      waiters: 0,
      left: { outcome: "cancelled", limitSeconds: null }
    }
    const entries = joinable.get(entry.words) ?? new Set()
    joinable.set(entry.words, entries.add(entry))
    // The owner ends it before the scope that it works in, and so does the last to leave.
    entry.starting = yield* work(entry, asked).pipe(
      Effect.onExit((exit) => {
        if (!Exit.isSuccess(exit) || exit.value === false) remove(entry)
        return Deferred.done(entry.begun, exit)
      }),
      Effect.provideService(Scope.Scope, entry.scope),
      Effect.forkIn(owner)
    )
    return entry
  })

  /** Waits with an entry; the last to leave takes it down, and waits until it is gone. */
  const enter = (asked: Asked<unknown>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const entry = find(asked) ?? (yield* start(asked))
        entry.waiters++
        let left: Leaving = { outcome: "cancelled", limitSeconds: null }
        yield* Effect.addFinalizer(() =>
          Effect.suspend(() => {
            entry.left = left
            if (--entry.waiters > 0) return Effect.void
            remove(entry)
            return Effect.andThen(
              entry.starting === null ? Effect.void : Fiber.interrupt(entry.starting),
              Scope.close(entry.scope, Exit.void)
            )
          })
        )
        const build = yield* restore(Deferred.await(entry.begun))
        if (build === false) return null
        return { build, leaving: (how: Leaving) => void (left = how) } satisfies Joined
      })
    )

  const join = Effect.fnUntraced(function* <A>(
    asked: Asked<A>
  ): Effect.fn.Return<Joined | { readonly answered: A }, never, Scope.Scope> {
    const mine = yield* Effect.scope
    for (;;) {
      const scope = yield* Scope.fork(mine)
      const joined = yield* Scope.provide(enter(asked), scope)
      if (joined !== null) return joined
      yield* Scope.close(scope, Exit.void)
      // What answers another may not answer this one, which then starts its own.
      const answered = yield* asked.answered
      if (answered !== null) return { answered }
    }
  })

  return { join }
})
