/**
 * The scheduler: owner of the queue and of every lease. It performs what `Queue` decides.
 *
 * The books survive a defect: a message that cannot be handled is lost alone, and whoever sent it is told.
 */
import { Cause, Context, Deferred, Effect, Layer, Queue as Mailbox, Ref, Schema, type Scope } from "effect"
import type { Host } from "../../domain/Host.ts"
import type { Lease, LeaseId } from "../../domain/Lease.ts"
import type { Need } from "../../domain/Need.ts"
import { supervise } from "../Supervisor.ts"
import * as Queue from "./Queue.ts"

/** No host that this service has could ever take it. */
export class NeverFits extends Schema.TaggedError<NeverFits>()("NeverFits", { reason: Schema.String }) {
  override get message() {
    return this.reason
  }
}

export class Scheduler extends Context.Service<
  Scheduler,
  {
    /** Waits for a lease, which the scope gives back. */
    readonly lease: (need: Need) => Effect.Effect<Lease, NeverFits, Scope.Scope>
    readonly books: Effect.Effect<Queue.Books>
  }
>()("drover/actors/Scheduler") {
  static readonly layer = (hosts: ReadonlyArray<Host>) =>
    Layer.effect(
      Scheduler,
      Effect.gen(function* () {
        const mailbox = yield* Effect.acquireRelease(Mailbox.unbounded<Queue.Message>(), Mailbox.shutdown)
        const books = yield* Ref.make(Queue.open(hosts))
        const askers = new Map<LeaseId, Deferred.Deferred<Lease, NeverFits>>()

        const tell = (decision: Queue.Decision) => {
          switch (decision._tag) {
            case "Granted":
              return answer(decision.lease.id, Deferred.succeed(decision.lease))
            case "NeverFits":
              return answer(decision.lease, Deferred.fail(new NeverFits({ reason: decision.reason })))
          }
        }
        const answer = (
          lease: LeaseId,
          complete: (asker: Deferred.Deferred<Lease, NeverFits>) => Effect.Effect<boolean>
        ) => {
          const asker = askers.get(lease)
          askers.delete(lease)
          return asker === undefined ? Effect.void : complete(asker)
        }

        const receive = Effect.fnUntraced(function* (message: Queue.Message) {
          const decisions = yield* Ref.modify(books, (books) => {
            const [next, decisions] = Queue.step(books, message)
            return [decisions, next]
          })
          yield* Effect.forEach(decisions, tell, { discard: true })
        })

        yield* Mailbox.take(mailbox).pipe(
          Effect.flatMap(receive),
          Effect.forever,
          (loop) => supervise({ restart: "permanent", intensity: 3, period: "1 minute" }, loop),
          Effect.tapCause((cause) =>
            Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError("the scheduler ended", cause)
          ),
          Effect.forkScoped
        )

        const lease = (need: Need) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.gen(function* () {
              const granted = yield* Deferred.make<Lease, NeverFits>()
              askers.set(need.lease, granted)
              yield* Mailbox.offer(mailbox, { _tag: "Requested", need })
              const giveBack = Effect.suspend(() => {
                askers.delete(need.lease)
                return Mailbox.offer(mailbox, { _tag: "Returned", lease: need.lease })
              })
              // One way back for "still waiting" and for "granted": the books know which it is.
              yield* Effect.addFinalizer(() => giveBack)
              return yield* restore(Deferred.await(granted))
            })
          )

        return { lease, books: Ref.get(books) }
      })
    )
}
