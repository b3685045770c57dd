/**
 * What can go wrong with a request, whose doing it is, and the sentence that it becomes for the client.
 *
 * The sentence names what was asked and what stood against it. Causes that are ours go to our log, not to the client.
 */
import { Effect, Schedule, Schema } from "effect"
import { print, type StorePath } from "../../protocol/nix/StorePath.ts"
import type { WireError } from "../../protocol/wire/Codec.ts"
import type { StorageError } from "../../storage/StorageError.ts"

/** What a session will not do for its client, as a sentence. */
export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

export const refuse = (detail: string): Effect.Effect<never, Refusal> => Effect.fail(new Refusal({ detail }))

/** Clients look for "is not valid" in this. */
export const notValid = (path: StorePath): Refusal => new Refusal({ detail: `path '${print(path)}' is not valid` })

/** The request was not done, and the connection is good for the next one. */
export type Trouble = Refusal | WireError | StorageError

/** As trouble, of which the client has been told already. */
export class Told extends Schema.TaggedError<Told>()("Told", {}) {}

/**
 * The connection is good for nothing more: where the next message begins is not known, or a reply has begun that
 * cannot be finished. Then the client can no longer be told why, and `sentence` is null.
 */
export class OutOfStep extends Schema.TaggedError<OutOfStep>()("OutOfStep", {
  sentence: Schema.NullOr(Schema.String)
}) {}

/** The sentence for the client. Logs what it does not say. */
export const explain = (trouble: Trouble): Effect.Effect<string> => {
  switch (trouble._tag) {
    case "Refusal":
      return Effect.succeed(trouble.detail.toWellFormed())
    case "WireError":
      return Effect.succeed(trouble.message.toWellFormed())
    case "StorageError":
      return Effect.as(
        Effect.logWarning("the store could not answer a client", trouble),
        `the store could not do this (${trouble.operation})${trouble.isRetryable ? "; try again" : ""}`
      )
  }
}

/** Soon at first, then every other second, for half a minute: a database that was killed is back by then. */
const again = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])
const timesMax = 20

/** A question, which may be asked any number of times, is asked again while the store cannot answer for the moment. */
export const patiently = <A, E extends { readonly _tag: string }, R>(
  question: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.retry(question, { while: (error: E) => passes(error), times: timesMax, schedule: again })

const passes = (error: { readonly _tag: string; readonly isRetryable?: boolean }) =>
  error._tag === "StorageError" && error.isRetryable === true

/** Trouble while bytes are read whose end only the reading itself finds. */
export const outOfStep = (trouble: Trouble): Effect.Effect<never, OutOfStep> =>
  Effect.flatMap(explain(trouble), (sentence) => Effect.fail(new OutOfStep({ sentence })))
