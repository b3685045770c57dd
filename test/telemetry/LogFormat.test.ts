/** Lines of the log, as a person greps for them and as a program splits them. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Logger, References, Schema } from "effect"
import * as LogFormat from "../../src/telemetry/LogFormat.ts"

/** The line that an effect logs, without what differs from one run to the next. */
const lineOf = Effect.fnUntraced(function* (logging: Effect.Effect<void>) {
  const lines: Array<string> = []
  const logger = Logger.make((options) => void lines.push(LogFormat.format(options)))
  yield* Effect.provide(logging, Logger.layer([logger]))
  assert.lengthOf(lines, 1)
  return lines[0]!.replace(/^timestamp=\S+Z level=(\S+) fiber=#\d+ /, "$1 ")
})

/** Splits as a reader of logfmt does. */
const split = (line: string): Array<[string, string]> =>
  [...line.matchAll(/([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)/g)].map(([, name, value]) => [
    name!,
    value!.startsWith('"') ? JSON.parse(value!) : value!
  ])

class Lost extends Schema.TaggedError<Lost>()("Lost", { detail: Schema.String }) {
  override get message() {
    return `lost: ${this.detail}`
  }
}

describe("a line of the log", () => {
  it.effect("has the data beside the message, each by its name", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* lineOf(Effect.logInfo("serving", { sandbox: "process", cores: 2, memoryBytes: 2n ** 40n, ready: true })),
        "INFO message=serving sandbox=process cores=2 memoryBytes=1099511627776 ready=true"
      )
      assert.strictEqual(
        yield* lineOf(Effect.logWarning("builds are over", { systems: ["a", "b"], none: null })),
        'WARN message="builds are over" systems="[\\"a\\",\\"b\\"]" none=null'
      )
    })
  )

  it.effect("says what an error says, and a cause whole", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* lineOf(Effect.logWarning("builder lost", new Lost({ detail: "gone" }))),
        'WARN message="builder lost: Lost: lost: gone"'
      )
      const [message, cause] = split(yield* lineOf(Effect.logError("ended", Cause.die(new Error("why")))))
      assert.deepStrictEqual(message, ["message", "ended"])
      assert.strictEqual(cause?.[0], "cause")
      assert.match(cause?.[1] ?? "", /^Error: why\n/)
    })
  )

  it.effect("has what is known of the fiber, unless the message says it itself", () =>
    Effect.gen(function* () {
      const line = Effect.logInfo("connected", { account: "b" }).pipe(
        Effect.annotateLogs({ account: "a", trace_id: "0123", level: "no" })
      )

      assert.strictEqual(yield* lineOf(line), "INFO message=connected account=b trace_id=0123 level_=no")
    })
  )

  const hostile = {
    "a line of its own": "x\ntimestamp=1 level=FATAL message=forged",
    "a field of its own": 'x level=FATAL "',
    "a command to the terminal": "\u001b[2J\u009b2J\u007f",
    "a line to a program that knows Unicode": "a\u2028b\u0085c",
    "no text": "\ud800",
    nothing: ""
  }
  for (const [what, text] of Object.entries(hostile)) {
    it.effect(`lets a client's word not be ${what}`, () =>
      Effect.gen(function* () {
        const line = yield* lineOf(Effect.logInfo(text, { [text]: text, message: text }))

        assert.match(line, /^[\x20-\x7e\u00a1-\u1fff\u2030-\uffff]+$/)
        const fields = split(line)
        assert.lengthOf(fields, 3)
        assert.strictEqual(fields[0]?.[1].toWellFormed(), text.toWellFormed())
        assert.deepStrictEqual(fields[0]?.[0], "message")
        assert.deepStrictEqual(fields[2]?.[0], "message_")
      })
    )
  }

  it.effect("is not longer than is any good", () =>
    Effect.gen(function* () {
      assert.isBelow(
        (yield* lineOf(Effect.logInfo("x".repeat(1e6), { data: { deep: "y".repeat(1e6) } }))).length,
        20_000
      )
    })
  )

  it.effect("tells of what cannot be printed that it was there", () =>
    Effect.gen(function* () {
      const round: Record<string, unknown> = {}
      round["self"] = round

      assert.strictEqual(yield* lineOf(Effect.logInfo("odd", { round })), 'INFO message=odd round="[object Object]"')
    })
  )
})

it.effect("is given to another logger as a message, and data as annotations", () =>
  Effect.gen(function* () {
    const heard: Array<unknown> = []
    const logger = LogFormat.apart(
      Logger.make(
        ({ fiber, message }) => void heard.push(message, fiber.getRef(References.CurrentLogAnnotations), fiber.id)
      )
    )

    const id = yield* Effect.fiberId
    yield* Effect.logInfo("serving", { cores: 2 }).pipe(
      Effect.annotateLogs({ account: "a" }),
      Effect.provide(Logger.layer([logger]))
    )

    assert.deepStrictEqual(heard, ["serving", { account: "a", cores: 2 }, id])
  })
)
