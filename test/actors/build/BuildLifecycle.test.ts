import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import {
  attemptsMaxDefault,
  type Command,
  crashesMax,
  unstartedMax,
  Message,
  start,
  State,
  table,
  type Terms
} from "../../../src/actors/build/BuildLifecycle.ts"
import { lossesMax } from "../../../src/actors/builder/HostLifecycle.ts"
import * as Lifecycle from "../../../src/actors/Lifecycle.ts"
import type { Failure } from "../../../src/domain/Failure.ts"
import { LeaseId } from "../../../src/domain/Lease.ts"

const { BuilderLost, Cancel, Exited, Failed, HandOn, Imported, Leased, NeverFits, OutOfMemory } = Message.cases

const first = LeaseId.make("first")
const second = LeaseId.make("second")
const failure: Failure = { status: "PermanentFailure", outcome: "failed", message: "it failed" }
const starved: Failure = { ...failure, outcome: "out-of-memory", message: "it used all" }
const terms: Terms = {
  memoryBytes: 2 ** 30,
  memoryBytesNext: 0,
  memoryBytesMax: 2 ** 32,
  ceiling: "there is no more",
  attemptsMax: 5
}
const lost = (fault: BuilderLost["fault"]) => BuilderLost.make({ lease: first, fault, detail: "gone" })
type BuilderLost = Extract<Message, { readonly _tag: "BuilderLost" }>

const replay = (messages: ReadonlyArray<Message>, agreed: Terms = terms) => {
  let [state, commands]: readonly [State, ReadonlyArray<Command>] = start(agreed)
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
const failureIn = (commands: ReadonlyArray<Command>): Failure | undefined =>
  commands.flatMap((command) => (command._tag === "AnswerFailure" ? [command.failure] : []))[0]

// Two leases, so that half of what is said speaks for the one held: of free ones hardly any would.
const lease = Schema.Literals([first, second])
const told = Schema.Array(
  Schema.Union([
    Schema.TaggedStruct("Leased", { lease }),
    Schema.TaggedStruct("Exited", { lease }),
    Schema.TaggedStruct("Imported", { lease }),
    Schema.TaggedStruct("BuilderLost", {
      lease,
      fault: Schema.Literals(["host", "sandbox", "service", "memory"]),
      detail: Schema.Literal("gone")
    }),
    Schema.TaggedStruct("OutOfMemory", {
      lease,
      failure: Schema.Struct({
        status: Schema.Literal("PermanentFailure"),
        outcome: Schema.Literal("out-of-memory"),
        message: Schema.Literal("too little")
      })
    }),
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
    Schema.TaggedStruct("Cancel", { outcome: Schema.Literal("cancelled") }),
    Schema.TaggedStruct("HandOn", {})
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
    const once = [Leased.make({ lease: first }), lost("service")]
    const agreed = { ...terms, attemptsMax: attemptsMaxDefault }
    assert.strictEqual(replay(once, agreed).state._tag, "Queued")
    const { commands, state } = replay(Array.from({ length: attemptsMaxDefault }, () => once).flat(), agreed)
    assert.strictEqual(state._tag, "Failed")
    assert.strictEqual(count(commands, "StartBuilder"), attemptsMaxDefault)
    assert.strictEqual(failureIn(commands)?.status, "TransientFailure")
  })

  it("meets more hosts that have no sandbox than a broken one has before it is lent no more, but not for ever", () => {
    const once = [Leased.make({ lease: first }), lost("host")]
    const times = (count: number) => replay(Array.from({ length: count }, () => once).flat()).state._tag

    assert.isAbove(unstartedMax, 2 * lossesMax)
    assert.strictEqual(times(unstartedMax - 1), "Queued")
    assert.strictEqual(times(unstartedMax), "Failed")
  })

  it("is handed on with its attempt ended, and answered by nobody here", () => {
    const { commands, state } = replay([Leased.make({ lease: first }), HandOn.make({})])
    assert.strictEqual(state._tag, "Cancelled")
    assert.deepStrictEqual(
      commands.slice(2).map(({ _tag }) => _tag),
      ["EndAttempt", "AnswerLater", "ReleaseLease", "SayGone"]
    )
  })

  it("is told that it is its own doing when it takes its sandbox with it over and over", () => {
    const messages = Array.from({ length: crashesMax }, () => [Leased.make({ lease: first }), lost("sandbox")]).flat()
    const { commands, state } = replay(messages)
    assert.strictEqual(state._tag, "Failed")
    assert.deepInclude(failureIn(commands), { status: "PermanentFailure", outcome: "lost" })
    assert.match(`${failureIn(commands)?.message}`, /sandbox ended 3 times .* the build itself/)
  })

  it("goes again with more memory, until it had all that it may have", () => {
    const once = [Leased.make({ lease: first }), OutOfMemory.make({ lease: first, failure: starved })]
    const { commands, state } = replay([...once, ...once, ...once, ...once])
    assert.strictEqual(state._tag, "Failed")
    assert.deepStrictEqual(
      commands.flatMap((command) => (command._tag === "RequestLease" ? [command.memoryBytes / 2 ** 30] : [])),
      [1, 2, 4]
    )
    assert.deepStrictEqual(
      commands.flatMap((command) => (command._tag === "EndAttempt" ? [command.outcome] : [])),
      ["out-of-memory", "out-of-memory", "out-of-memory"]
    )
    assert.deepStrictEqual(failureIn(commands), { ...starved, message: "it used all; there is no more" })
  })

  it("does not count what ran out of memory among the lost", () => {
    const starving = [Leased.make({ lease: first }), OutOfMemory.make({ lease: first, failure: starved })]
    const losing = [Leased.make({ lease: first }), lost("service")]
    const { state } = replay([...starving, ...starving, ...losing], { ...terms, attemptsMax: 2 })
    assert.strictEqual(state._tag, "Queued")
  })

  it("gets more where a want of memory is only likely, and gives up like one that is lost", () => {
    const once = [Leased.make({ lease: first }), lost("memory")]
    const { commands, state } = replay([...once, ...once], { ...terms, attemptsMax: 2 })
    assert.strictEqual(state._tag, "Failed")
    assert.deepStrictEqual(
      commands.flatMap((command) => (command._tag === "RequestLease" ? [command.memoryBytes / 2 ** 30] : [])),
      [1, 2]
    )
    assert.strictEqual(failureIn(commands)?.status, "TransientFailure")
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
      lost("host"),
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
    "never has as little memory again as was too little",
    [told],
    ([messages]) => {
      const { commands } = replay(messages)
      let tooLittle = 0
      let given = 0
      for (const command of commands) {
        if (command._tag === "EndAttempt" && command.outcome === "out-of-memory") tooLittle = given
        if (command._tag !== "RequestLease") continue
        given = command.memoryBytes
        assert.isAbove(given, tooLittle)
        assert.isAtMost(given, terms.memoryBytesMax)
      }
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
