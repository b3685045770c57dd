import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import {
  type Command,
  lossesMax,
  lossesMilliseconds,
  Message,
  probeMilliseconds,
  probeMillisecondsMax,
  start,
  startDrained,
  type State,
  table
} from "../../../src/actors/builder/HostLifecycle.ts"
import * as Lifecycle from "../../../src/actors/Lifecycle.ts"

const { Answered, Drain, Lost, Probed, ProbeDue, Resume } = Message.cases

const replay = (messages: ReadonlyArray<Message>, from: Lifecycle.Step<State, Command> = start) => {
  let [state, commands] = from
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
const tags = (commands: ReadonlyArray<Command>) => commands.map(({ _tag }) => _tag)
const lost = (fault: "host" | "sandbox", build: string, at = 0): Message =>
  Lost.make({ loss: { fault, build, at, detail: `lost ${build}` } })
const broken = Array.from({ length: lossesMax }, () => lost("host", "one"))
const suspicious = Array.from({ length: lossesMax }, (_, index) => lost("sandbox", `build ${index}`))
const isLent = ({ _tag }: State) => _tag === "Serving"

const told = Schema.Array(
  Schema.Union([
    Schema.TaggedStruct("Lost", {
      loss: Schema.Struct({
        fault: Schema.Literals(["host", "sandbox"]),
        build: Schema.Literals(["one", "two", "three"]),
        at: Schema.Literal(0),
        detail: Schema.Literal("gone")
      })
    }),
    Schema.TaggedStruct("Answered", {}),
    // Numbers of which most speak for the probe under way.
    Schema.TaggedStruct("ProbeDue", { probe: Schema.Literals([1, 2, 3]) }),
    Schema.TaggedStruct("Probed", {
      probe: Schema.Literals([1, 2, 3]),
      trouble: Schema.NullOr(Schema.Literal("no boot"))
    }),
    Schema.TaggedStruct("Drain", {}),
    Schema.TaggedStruct("Resume", {})
  ])
)
const arbitrary = Arbitrary.schema(told)
const runs = { arbitrary: { runs: 2000, size: 30 } }

describe("a host's life", () => {
  it("is lent no more once it has given no sandbox a few times, and is asked at once whether it can", () => {
    const { commands, state } = replay(broken)

    assert.strictEqual(state._tag, "Quarantined")
    assert.deepStrictEqual(tags(commands), ["Withdraw", "ProbeLater"])
    assert.deepInclude(commands[1], { milliseconds: 0 })
  })

  it("comes back by a probe, and by nothing else", () => {
    const { state } = replay([...broken, Answered.make({}), Resume.make({}), ...broken])
    assert.strictEqual(state._tag, "Quarantined")

    const { commands } = replay([...broken, ProbeDue.make({ probe: 1 }), Probed.make({ probe: 1, trouble: null })])
    assert.deepStrictEqual(tags(commands), ["Withdraw", "ProbeLater", "Probe", "Restore"])
  })

  it("is asked later each time that it is found wanting, until a build has had its answer", () => {
    const failing = Array.from({ length: 4 }, (_, index) => [
      ProbeDue.make({ probe: index + 1 }),
      Probed.make({ probe: index + 1, trouble: "no boot" })
    ]).flat()
    const later = (messages: ReadonlyArray<Message>) =>
      replay(messages).commands.flatMap((command) => (command._tag === "ProbeLater" ? [command.milliseconds] : []))

    assert.deepStrictEqual(later([...broken, ...failing]), [0, 1000, 2000, 4000, 8000])

    const back = [ProbeDue.make({ probe: 1 }), Probed.make({ probe: 1, trouble: null })]
    assert.deepStrictEqual(later([...broken, ...back, ...broken]), [0, 1000])
    assert.deepStrictEqual(later([...broken, ...back, Answered.make({}), ...broken]), [0, 0])
    assert.strictEqual(probeMilliseconds(1000), probeMillisecondsMax)
  })

  it("stays lent when one build loses its sandbox over and over", () => {
    const { commands, state } = replay(Array.from({ length: 100 }, () => lost("sandbox", "one")))

    assert.strictEqual(state._tag, "Serving")
    assert.deepStrictEqual(commands, [])
  })

  it("is doubted when several builds lose theirs, and withheld until a probe decides", () => {
    const doubted = replay(suspicious)
    assert.strictEqual(doubted.state._tag, "Doubted")
    assert.deepStrictEqual(tags(doubted.commands), ["Withdraw", "Probe"])

    assert.strictEqual(replay([...suspicious, Probed.make({ probe: 1, trouble: null })]).state._tag, "Serving")
    assert.strictEqual(replay([...suspicious, Probed.make({ probe: 1, trouble: "no boot" })]).state._tag, "Quarantined")
  })

  it("is more than doubted once it gives no sandbox, whatever its probe may say later", () => {
    const { commands, state } = replay([...suspicious, lost("host", "one"), Probed.make({ probe: 1, trouble: null })])

    assert.strictEqual(state._tag, "Quarantined")
    assert.deepStrictEqual(tags(commands), ["Withdraw", "Probe", "ProbeLater"])
  })

  it("forgets losses that an answer or enough time lies between", () => {
    const [one, two, three] = broken as [Message, Message, Message]
    assert.strictEqual(replay([one, two, Answered.make({}), three]).state._tag, "Serving")

    const slow = [0, 1, 2].map((index) => lost("host", "one", index * lossesMilliseconds))
    assert.strictEqual(replay(slow).state._tag, "Serving")
  })

  it("takes no word of a probe that it no longer waits for", () => {
    const { state } = replay([...suspicious, Drain.make({}), Resume.make({}), Probed.make({ probe: 1, trouble: null })])
    assert.strictEqual(state._tag, "Probing")
  })

  it("begins drained where the operator left it so, and comes back by a probe", () => {
    assert.deepStrictEqual(tags(replay([], startDrained).commands), ["Withdraw"])
    const { commands, state } = replay([Resume.make({}), Probed.make({ probe: 1, trouble: null })], startDrained)
    assert.strictEqual(state._tag, "Serving")
    assert.deepStrictEqual(tags(commands), ["Withdraw", "Probe", "Restore"])
  })

  it.prop(
    "is withdrawn and restored in turns, and lent exactly in between",
    [told],
    ([messages]) => {
      const { commands, state } = replay(messages)
      const turns = tags(commands).filter((tag) => tag === "Withdraw" || tag === "Restore")
      turns.forEach((tag, index) => assert.strictEqual(tag, index % 2 === 0 ? "Withdraw" : "Restore"))
      assert.strictEqual(isLent(state), turns.length % 2 === 0)
    },
    runs
  )

  it.prop(
    "waits for the last probe it asked for, wherever it is not lent or not trusted",
    [told],
    ([messages]) => {
      const { commands, state } = replay(messages)
      if (state._tag === "Serving" || state._tag === "Drained") return
      const last = commands.findLast((command) => command._tag === "Probe" || command._tag === "ProbeLater")
      assert.deepInclude(last, { _tag: state._tag === "Quarantined" ? "ProbeLater" : "Probe", probe: state.probe })
    },
    runs
  )

  it.effect("is tested in every cell of its table", () =>
    Effect.gen(function* () {
      const cells = new Set(
        Object.entries(table).flatMap(([row, cells]) => Object.keys(cells).map((cell) => `${row}/${cell}`))
      )
      for (const messages of yield* Arbitrary.sampleEffect(arbitrary, { count: 3000, size: 30, seed: 1 })) {
        const { states } = replay(messages)
        messages.forEach((message, index) => cells.delete(`${states[index]?._tag}/${message._tag}`))
      }
      assert.deepStrictEqual([...cells], [])
    })
  )
})
