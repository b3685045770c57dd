/** One mishap of each kind, at moments that a seed chooses; `npm run mishaps` makes as many as one likes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { cases, mishaps } from "./Mishap.ts"
import * as Rehearsal from "./Rehearsal.ts"

const seed = 1

describe("a machine that something happens to", () => {
  it.live("ends as what happened, in its time, with nothing left, and the next build is fine", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const rehearse = yield* Rehearsal.make
        const outcomes = yield* Effect.forEach(cases(seed, mishaps.length), rehearse)

        for (const { complaints, milliseconds, mishap, moment } of outcomes) {
          assert.deepStrictEqual(
            complaints,
            [],
            `${mishap.kind}, while ${moment}, after ${milliseconds} ms, seed ${seed}`
          )
        }
      })
    )
  )
})
