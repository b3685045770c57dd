import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Templates from "../../../src/sandbox/microvm/Templates.ts"

/** What may happen, to one of a few kinds or one of very many. */
const Kind = Schema.Union([
  Schema.Literals(["small", "large", "wide"]),
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))
])
const Event = Schema.Union([
  Schema.Struct({ what: Schema.Literal("ask"), kind: Kind }),
  Schema.Struct({ what: Schema.Literals(["make", "fail to make"]), megabytes: Schema.Literals([1, 100, 500]) }),
  Schema.Struct({ what: Schema.Literal("fail to copy"), kind: Kind })
])
const Events = Schema.Array(Event)

/** Plays what happens, and looks after each event at what is there. */
const play = (events: typeof Events.Type) => {
  let templates: Templates.Templates<number> = Templates.none
  let next = 0
  const open = new Set<number>()
  const change = <C extends Templates.Changed<number>>(changed: C): C => {
    templates = changed.templates
    for (const each of changed.dropped) assert.isTrue(open.delete(each), "closed twice, or never opened")
    return changed
  }
  const making = () => [...templates].filter(([, { _tag }]) => _tag === "Making").map(([kind]) => kind)
  for (const event of events) {
    if (event.what === "ask") {
      const { answer } = change(Templates.ask(templates, `${event.kind}`))
      if (answer._tag === "Copy") assert.isTrue(open.has(answer.template), "lent when it was closed")
      if (answer._tag === "Make") assert.deepStrictEqual(making(), [`${event.kind}`])
    } else if (event.what === "fail to copy") {
      const entry = templates.get(`${event.kind}`)
      if (entry?._tag === "Made") change(Templates.failed(templates, `${event.kind}`, entry.template))
    } else {
      const [kind] = making()
      if (kind === undefined) continue
      if (event.what === "fail to make") {
        change(Templates.failed(templates, kind))
        continue
      }
      open.add(++next)
      change(Templates.made(templates, kind, next, event.megabytes * 2 ** 20))
    }
    const made = [...templates.values()].flatMap((entry) => (entry._tag === "Made" ? [entry] : []))
    assert.sameMembers(
      made.map(({ template }) => template),
      [...open]
    )
    assert.isAtMost(making().length, 1)
    assert.isAtMost(made.length, Templates.templatesMax)
    assert.isAtMost(
      made.reduce((sum, { bytes }) => sum + bytes, 0),
      Templates.bytesMax
    )
    assert.isAtMost(templates.size, Templates.kindsMax + 1)
  }
}

const asked = (kind: string, times: number, from: Templates.Templates<string> = Templates.none) => {
  let templates = from
  const answers: Array<string> = []
  for (let time = 0; time < times; time++) {
    const changed = Templates.ask(templates, kind)
    templates = changed.templates
    answers.push(changed.answer._tag)
  }
  return { templates, answers }
}

const madeOf = (kind: string, template = kind, from: Templates.Templates<string> = Templates.none, bytes = 1) =>
  Templates.made(asked(kind, Templates.askedMin, from).templates, kind, template, bytes).templates

describe("templates", () => {
  it.prop(
    "are never too many, and each is closed once, when no machine is to come of it any more",
    [Events],
    ([events]) => play(events)
  )

  it("are not made for a machine that is asked for once, and once for one that is asked for again", () => {
    assert.deepStrictEqual(asked("small", 4).answers, ["Boot", "Make", "Boot", "Boot"])
  })

  it("are what a machine begins as a copy of, once they are made", () => {
    assert.deepStrictEqual(asked("small", 2, madeOf("small")).answers, ["Copy", "Copy"])
    assert.deepStrictEqual(asked("large", 1, madeOf("small")).answers, ["Boot"])
  })

  it("are made one at a time", () => {
    const { templates } = asked("small", 2)

    assert.deepStrictEqual(asked("large", 3, templates).answers, ["Boot", "Boot", "Boot"])
  })

  it("are tried again only when they have been asked for eight times as often", () => {
    const { templates } = Templates.failed(madeOf("small"), "small", "small")

    const { answers } = asked("small", 17, templates)

    assert.strictEqual(answers.indexOf("Make"), Templates.askedMin * Templates.patience - 1)
  })

  it("are not given up for a failure of an earlier one", () => {
    const templates = madeOf("small", "second")

    assert.deepStrictEqual(Templates.failed(templates, "small", "first"), { templates, dropped: [] })
  })

  it("go when they were used longest ago", () => {
    let templates: Templates.Templates<string> = Templates.none
    for (let each = 0; each < Templates.templatesMax; each++) templates = madeOf(`${each}`, `${each}`, templates)
    templates = asked("0", 1, templates).templates

    const { dropped } = Templates.made(asked("more", 2, templates).templates, "more", "more", 1)

    assert.deepStrictEqual(dropped, ["1"])
  })

  it("go when they are too large together", () => {
    const half = Templates.bytesMax / 2
    const templates = madeOf("second", "second", madeOf("first", "first", Templates.none, half), half)

    assert.deepStrictEqual(Templates.made(asked("third", 2, templates).templates, "third", "third", 1).dropped, [
      "first"
    ])
  })
})
