import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { attemptsMax, type Command, Message, start, State, table } from "../../../src/actors/build/BuildLifecycle.ts"
import * as Lifecycle from "../../../src/actors/Lifecycle.ts"
import type { Failure } from "../../../src/domain/Failure.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"

const { BuilderLost, Cancel, Exited, Failed, Imported, Leased, NeverFits } = Message.cases

const first = LeaseId.make("first")
const second = LeaseId.make("second")
const failure: Failure = { status: "PermanentFailure", outcome: "failed", message: "it failed" }

const replay = (messages: ReadonlyArray<Message>) => {
  let [state, commands]: readonly [State, ReadonlyArray<Command>] = start
  const states: Array<State> = []
  for (const message of messages) {
    states.push(state)
    const step = Lifecycle.step(table, state, message)
    if (step === undefined) continue
    state = step[0]
    commands = [...commands, ...step[1]]
  }
  return { state, states, commands }
}
const count = (things: ReadonlyArray<{ readonly _tag: string }>, tag: string) =>
  things.filter(({ _tag }) => _tag === tag).length
const answers = (commands: ReadonlyArray<Command>) => commands.filter(({ _tag }) => _tag.startsWith("Answer"))

// Two leases, so that half of what is said speaks for the one held: of free ones hardly any would.
const lease = Schema.Literals([first, second])
const told = Schema.Array(
  Schema.Union([
    Schema.TaggedStruct("Leased", { lease }),
    Schema.TaggedStruct("Exited", { lease }),
    Schema.TaggedStruct("Imported", { lease }),
    Schema.TaggedStruct("BuilderLost", { lease, detail: Schema.Literal("gone") }),
    Schema.TaggedStruct("Failed", {
      lease,
      failure: Schema.Struct({
        status: Schema.Literal("PermanentFailure"),
        outcome: Schema.Literal("failed"),
        message: Schema.Literal("no")
      })
    }),
    Schema.TaggedStruct("NeverFits", {
      failure: Schema.Struct({
        status: Schema.Literal("InputRejected"),
        outcome: Schema.Literal("failed"),
        message: Schema.Literal("too large")
      })
    }),
    Schema.TaggedStruct("Cancel", { outcome: Schema.Literal("cancelled") })
  ])
)
const arbitrary = Arbitrary.schema(told)
const runs = { arbitrary: { runs: 2000, size: 20 } }

describe("a build's life", () => {
  it("goes from queue to success by one lease", () => {
    const { commands, state } = replay([
      Leased.make({ lease: first }),
      Exited.make({ lease: first }),
      Imported.make({ lease: first })
    ])
    assert.strictEqual(state._tag, "Succeeded")
    assert.deepStrictEqual(
      commands.map(({ _tag }) => _tag),
      ["RequestLease", "StartBuilder", "ImportOutputs", "EndAttempt", "AnswerSuccess", "ReleaseLease", "SayGone"]
    )
  })

  it("begins again when its builder is lost, and gives up in the end", () => {
    const once = [Leased.make({ lease: first }), BuilderLost.make({ lease: first, detail: "gone" })]
    assert.deepInclude(replay(once).state, { _tag: "Queued", attempt: 2 })
    const { commands, state } = replay(Array.from({ length: attemptsMax }, () => once).flat())
    assert.strictEqual(state._tag, "Failed")
    assert.strictEqual(count(commands, "StartBuilder"), attemptsMax)
    assert.deepInclude(answers(commands)[0], { _tag: "AnswerFailure" })
  })

  it("does not begin again when the builder has said no", () => {
    const { commands, state } = replay([Leased.make({ lease: first }), Failed.make({ lease: first, failure })])
    assert.strictEqual(state._tag, "Failed")
    assert.strictEqual(count(commands, "StartBuilder"), 1)
  })

  it("gives back a lease that crosses its own cancellation", () => {
    const { commands } = replay([Cancel.make({ outcome: "cancelled" }), Leased.make({ lease: first })])
    assert.strictEqual(count(commands, "ReleaseLease"), 1)
  })

  it("takes no word of a builder that it no longer has", () => {
    const { state } = replay([
      Leased.make({ lease: first }),
      BuilderLost.make({ lease: first, detail: "gone" }),
      Leased.make({ lease: second }),
      Exited.make({ lease: first })
    ])
    assert.strictEqual(state._tag, "Building")
  })

  it("is refused where it fits no host", () => {
    const { commands, state } = replay([NeverFits.make({ failure })])
    assert.strictEqual(state._tag, "Failed")
    assert.strictEqual(count(commands, "SayGone"), 1)
  })

  it.prop(
    "holds or has released every lease it was granted",
    [told],
    ([messages]) => {
      const { commands, state } = replay(messages)
      const held = "lease" in state ? 1 : 0
      assert.strictEqual(count(messages, "Leased"), count(commands, "ReleaseLease") + held)
    },
    runs
  )

  it.prop(
    "ends every attempt that it starts, but the one under way",
    [told],
    ([messages]) => {
      const { commands, state } = replay(messages)
      assert.strictEqual(count(commands, "StartBuilder"), count(commands, "EndAttempt") + ("lease" in state ? 1 : 0))
    },
    runs
  )

  it.prop(
    "answers once, when it ends, and is gone after",
    [told],
    ([messages]) => {
      const { commands, state } = replay(messages)
      const ended = State.isAnyOf(["Succeeded", "Failed", "Cancelled"])(state) ? 1 : 0
      assert.lengthOf(answers(commands), ended)
      assert.strictEqual(count(commands, "SayGone"), ended)
    },
    runs
  )

  it.prop(
    "stays ended once it has ended",
    [told],
    ([messages]) => {
      const { state, states } = replay(messages)
      const end = states.find(State.isAnyOf(["Succeeded", "Failed", "Cancelled"]))
      if (end !== undefined) assert.strictEqual(state, end)
    },
    runs
  )

  it.effect("is tested in every cell of its table", () =>
    Effect.gen(function* () {
      const cells = new Set(
        Object.entries(table).flatMap(([row, cells]) => Object.keys(cells).map((cell) => `${row}/${cell}`))
      )
      for (const messages of yield* Arbitrary.sampleEffect(arbitrary, { count: 3000, size: 20, seed: 1 })) {
        const { states } = replay(messages)
        messages.forEach((message, index) => cells.delete(`${states[index]?._tag}/${message._tag}`))
      }
      assert.deepStrictEqual([...cells], [])
    })
  )
})
