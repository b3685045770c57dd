/**
 * The scheduler: owner of the queue and of every lease. It performs what `Queue` decides.
 *
 * The books survive a defect: a message that cannot be handled is lost alone, and whoever asked by it is told.
 */
import {
  Cause,
  Clock,
  Context,
  Deferred,
  Effect,
  HashMap,
  Layer,
  Queue as Mailbox,
  Ref,
  Schema,
  type Scope,
  Stream
} from "effect"
import type { Host, HostId } from "../../domain/Host.ts"
import type { Lease, LeaseId } from "../../domain/Lease.ts"
import type { Need } from "../../domain/Need.ts"
import { Journal } from "../../storage/Journal.ts"
import { keep } from "../Supervisor.ts"
import * as Chronicle from "./Chronicle.ts"
import * as Queue from "./Queue.ts"
import * as Room from "./Room.ts"
import * as Standing from "./Standing.ts"

/** No host that this service has could ever take it. */
export class NeverFits extends Schema.TaggedError<NeverFits>()("NeverFits", { reason: Schema.String }) {
  override get message() {
    return this.reason
  }
}

/** How often one who waits is looked up for those who listen; with many waiting, less often. */
const standingSecondsMin = 2

/** A look counts those of every account who come before: more than so many a second would cost a core's tenth. */
const accountsPerSecondMax = 100_000

type Change = Extract<Queue.Message, { readonly _tag: "Reprioritised" | "Weighed" | "HostJoined" | "HostChanged" }>

/** A message, but for its time, which is that of its coming. */
type Untimed<M> = M extends Queue.Message ? Omit<M, "at"> : never

/** A lease that has been asked for. */
export interface Asked {
  readonly granted: Effect.Effect<Lease, NeverFits>
  /** Where it stands, until it is granted: now and at each change, if those do not come all too often. */
  readonly standing: Stream.Stream<Standing.Standing>
}

/** Who asked for a lease, until it is given back. */
interface Asker {
  /** The request has been read. */
  readonly entered: Deferred.Deferred<void>
  readonly granted: Deferred.Deferred<Lease, NeverFits>
}

/** Room on a host that is waited for: there are no more of them than hosts. */
interface Vacancy {
  readonly isThere: (books: Queue.Books) => boolean
  readonly there: Deferred.Deferred<void>
}

export class Scheduler extends Context.Service<
  Scheduler,
  {
    /** Asks for a lease. The scope gives it back, or forgets that it was asked for. */
    readonly request: (need: Need) => Effect.Effect<Asked, never, Scope.Scope>
    /** Asks for a lease, and waits until it is granted. */
    readonly lease: (need: Need) => Effect.Effect<Lease, NeverFits, Scope.Scope>
    /** Whether a host is lent from now on. What is lent of it stays lent. */
    readonly lend: (host: HostId, state: Room.State) => Effect.Effect<void>
    /** Returns once a host that is not lent has this much free, or is free: it stays so until it is lent again. */
    readonly vacant: (host: HostId, need: Pick<Need, "cores" | "memoryBytes">) => Effect.Effect<void>
    readonly tell: (change: Untimed<Change>) => Effect.Effect<void>
    readonly books: Effect.Effect<Queue.Books>
  }
>()("drover/actors/Scheduler") {
  static readonly layer = (hosts: ReadonlyArray<Host>) =>
    Layer.effect(
      Scheduler,
      Effect.gen(function* () {
        const mailbox = yield* Effect.acquireRelease(Mailbox.unbounded<Untimed<Queue.Message>>(), Mailbox.shutdown)
        const books = yield* Ref.make(Queue.open(hosts))
        const journal = yield* Journal
        yield* Effect.forEach(Chronicle.opening(hosts), journal.append, { discard: true })
        const askers = new Map<LeaseId, Asker>()
        const vacancies = new Set<Vacancy>()

        const tellAsker = <A>(lease: LeaseId, tell: (asker: Asker) => Effect.Effect<A>) => {
          const asker = askers.get(lease)
          return asker === undefined ? Effect.void : Effect.asVoid(tell(asker))
        }
        const perform = (decision: Queue.Decision) => {
          switch (decision._tag) {
            case "Granted":
              return tellAsker(decision.lease.id, ({ granted }) => Deferred.succeed(granted, decision.lease))
            case "NeverFits": {
              const { lease, reason } = decision
              return tellAsker(lease, ({ granted }) => Deferred.fail(granted, new NeverFits({ reason })))
            }
          }
        }

        const receive = (message: Untimed<Queue.Message>) =>
          Effect.gen(function* () {
            const at = yield* Clock.currentTimeMillis
            const [decisions, events] = yield* Ref.modify(books, (books) => {
              const timed = { ...message, at }
              const [next, decisions] = Queue.step(books, timed)
              return [[decisions, Chronicle.events(books, timed, decisions, next)] as const, next]
            })
            yield* Effect.forEach(events, journal.append, { discard: true })
            yield* Effect.forEach(decisions, perform, { discard: true })
            if (message._tag === "Requested") {
              yield* tellAsker(message.need.lease, ({ entered }) => Deferred.succeed(entered, undefined))
            }
            for (const { isThere, there } of vacancies) {
              if (isThere(yield* Ref.get(books))) yield* Deferred.succeed(there, undefined)
            }
          }).pipe(
            Effect.tapCause((cause) =>
              message._tag === "Requested"
                ? tellAsker(message.need.lease, ({ granted }) =>
                    Deferred.failCause(granted, Cause.die(Cause.squash(cause)))
                  )
                : Effect.void
            )
          )

        // Once nobody takes what is said any more, the last leases are given back: that, too, is to be on record.
        yield* Effect.addFinalizer(() =>
          Effect.flatMap(Mailbox.clear(mailbox), (rest) => Effect.forEach(rest, receive, { discard: true }))
        )
        // What has been taken is dealt with, even at the end.
        yield* Effect.uninterruptibleMask((restore) => Effect.flatMap(restore(Mailbox.take(mailbox)), receive)).pipe(
          Effect.forever,
          (loop) => keep("the scheduler", { restart: "permanent", intensity: 3, period: "1 minute" }, loop),
          Effect.forkScoped
        )

        const tell = (message: Untimed<Queue.Message>) => Effect.asVoid(Mailbox.offer(mailbox, message))

        const vacant = (host: HostId, need: Pick<Need, "cores" | "memoryBytes">) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              const vacancy: Vacancy = {
                isThere: ({ room }) => Room.isVacant(room, host, need),
                there: Deferred.makeUnsafe()
              }
              vacancies.add(vacancy)
              return vacancy
            }),
            ({ isThere, there }) =>
              Effect.flatMap(Ref.get(books), (books) => (isThere(books) ? Effect.void : Deferred.await(there))),
            (vacancy) => Effect.sync(() => vacancies.delete(vacancy))
          )

        const request = (need: Need) =>
          Effect.uninterruptible(
            Effect.gen(function* () {
              const asker: Asker = {
                entered: yield* Deferred.make<void>(),
                granted: yield* Deferred.make<Lease, NeverFits>()
              }
              askers.set(need.lease, asker)
              yield* tell({ _tag: "Requested", need })
              // One way back for "still waiting" and for "granted": the books know which it is.
              yield* Effect.addFinalizer(() => {
                askers.delete(need.lease)
                // Whoever still listens has nothing more to wait for.
                const end = Deferred.interrupt(asker.granted)
                return Effect.andThen(end, tell({ _tag: "Returned", lease: need.lease }))
              })
              return {
                granted: Deferred.await(asker.granted),
                standing: standing(need.lease, asker)
              }
            })
          )

        const standing = (lease: LeaseId, { entered, granted }: Asker) =>
          Stream.unfold(0, (looks) =>
            Effect.gen(function* () {
              if (looks === 0) yield* Deferred.await(entered)
              else yield* Effect.sleep(`${pause(yield* Ref.get(books))} seconds`)
              return [Standing.find(yield* Ref.get(books), lease), looks + 1] as const
            })
          ).pipe(
            // Null once it is granted, of which the stream is told a little later.
            Stream.filter((standing) => standing !== null),
            Stream.changesWith((a, b) => a.before === b.before && a.reason === b.reason && a.kept === b.kept),
            Stream.interruptWhen(Effect.exit(Deferred.await(granted)))
          )

        return {
          request,
          lease: (need) => Effect.flatMap(request(need), ({ granted }) => granted),
          lend: (host, state) => tell({ _tag: "HostChanged", host, state }),
          vacant,
          tell,
          books: Ref.get(books)
        }
      })
    )
}

const pause = ({ line }: Queue.Books): number =>
  Math.max(standingSecondsMin, (HashMap.size(line.waiting) * HashMap.size(line.accounts)) / accountsPerSecondMax)
