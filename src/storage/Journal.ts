/**
 * Where the service writes down what happens in it, event by event: what `Invariants` judges it by.
 *
 * Writing never waits and never fails, so it stands wherever something has just become a fact. Without a layer of this
 * service nothing is kept, as in a test of one part.
 */
import { Context, Effect } from "effect"
import type { Event } from "../domain/Event.ts"

export interface Journal {
  readonly append: (event: Event) => Effect.Effect<void>
  /**
   * What has been appended is in the database's hands, before all that is written there from now on: once anything that
   * comes later is on disk, so is this.
   */
  readonly written: Effect.Effect<void>
}

export const Journal = Context.Reference<Journal>("drover/storage/Journal", {
  defaultValue: () => ({ append: () => Effect.void, written: Effect.void })
})
