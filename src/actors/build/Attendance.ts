/** Who waits for which build, and what they are told, for the record. */
import { Effect, type Scope } from "effect"
import { Journal } from "../../storage/Journal.ts"
import type { Order } from "./Build.ts"
import type { Answer, Request } from "./Builds.ts"

export interface Attendance {
  /** One comes to wait, until the scope closes. Gives their answer, which is on record before they have it. */
  readonly attend: (
    request: Pick<Request, "account" | "resumed">,
    order: Pick<Order, "id" | "identity">,
    build: string,
    answer: Effect.Effect<Answer>
  ) => Effect.Effect<{ readonly answer: Effect.Effect<Answer> }, never, Scope.Scope>
  /** An earlier build has the answer to an order. */
  readonly reused: (order: Order, from: string) => Effect.Effect<void>
}

export const make = Effect.gen(function* () {
  const journal = yield* Journal
  const attendance: Attendance = {
    attend: Effect.fnUntraced(function* ({ account, resumed }, { id, identity }, build, answer) {
      // The order made for a request names who asks, whosever is carried out; one that is resumed has its build's name.
      const waiter = resumed?.wait ?? id
      yield* Effect.acquireRelease(
        journal.append({ _tag: "WaiterCame", waiter, build, identity, account: account.id }),
        () => journal.append({ _tag: "WaiterLeft", waiter })
      )
      const told = Effect.tap(answer, ({ status }) => journal.append({ _tag: "WaiterAnswered", waiter, status }))
      return { answer: told }
    }),
    reused: ({ id, identity, need }, from) =>
      journal.append({ _tag: "BuildReused", build: id, identity, account: need.account, from })
  }
  return attendance
})
