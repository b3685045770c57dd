import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as LogLines from "../../../src/actors/session/LogLines.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

/** What the splitter says of a log, as text: lines as they are, phases in brackets. */
const heard = (...chunks: ReadonlyArray<Uint8Array>) => {
  const lines = LogLines.make()
  return [...chunks.flatMap((chunk) => lines.push(chunk)), ...lines.end()].map((said) =>
    said._tag === "Line" ? new TextDecoder().decode(said.bytes) : `[${said.name}]`
  )
}

/** Texts in which everything that means something is frequent. */
const Log = Schema.Array(
  Schema.Literals(["a", "bcd", "\n", "\r", "\r\n", "@nix ", '{"action":"setPhase","phase":"p"}', "\u0000", "é"])
)

describe("a builder's log", () => {
  it("is cut at line ends, and an empty line is a line", () => {
    assert.deepStrictEqual(heard(bytes("one\n\ntwo\n")), ["one", "", "two"])
  })

  it("ends with the line that nothing ended", () => {
    assert.deepStrictEqual(heard(bytes("one\ntwo")), ["one", "two"])
    assert.deepStrictEqual(heard(bytes("one\n")), ["one"])
  })

  it("keeps of a progress bar what overwrote the rest", () => {
    assert.deepStrictEqual(heard(bytes("10%\r20%\r100%\n")), ["100%"])
    assert.deepStrictEqual(heard(bytes("abcdef\rXY\n")), ["XYcdef"])
    assert.deepStrictEqual(heard(bytes("line\r\n")), ["line"])
  })

  it("names a phase instead of showing the message that sets it", () => {
    assert.deepStrictEqual(heard(bytes('@nix {"action":"setPhase","phase":"build"}\n')), ["[build]"])
  })

  it("drops messages that a builder is not believed in", () => {
    assert.deepStrictEqual(heard(bytes('@nix {"action":"msg","level":0,"msg":"x"}\nafter\n')), ["after"])
  })

  it("shows as a line what only looks like a message", () => {
    const odd = ["@nix {", "@nix 1", "@nix null", '@nix {"action":"other"}', '@nix {"action":"setPhase","phase":1}']
    assert.deepStrictEqual(heard(bytes(odd.join("\n"))), odd)
  })

  it("hands on bytes that are no text", () => {
    const [said] = LogLines.make().push(Uint8Array.of(0xff, 0x00, 0x1b, 0x0a))
    assert.deepStrictEqual(said, { _tag: "Line", bytes: Uint8Array.of(0xff, 0x00, 0x1b) })
  })

  it("shows a line of a megabyte whole, and cuts one that never ends", () => {
    assert.deepStrictEqual(
      heard(bytes(`${"x".repeat(1 << 20)}\n`)).map((line) => line.length),
      [1 << 20]
    )
    const endless = Array.from({ length: 5 }, () => new Uint8Array(1 << 20).fill(0x78))
    assert.deepStrictEqual(
      heard(...endless).map((line) => line.length),
      [LogLines.lineBytesMax, 1 << 20]
    )
  })

  it.prop(
    "says the same however it is cut into chunks",
    [Log, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))],
    ([log, size]) => {
      const whole = bytes(log.join(""))
      const chunks = Array.from({ length: Math.ceil(whole.length / size) }, (_, index) =>
        whole.subarray(index * size, (index + 1) * size)
      )

      assert.deepStrictEqual(heard(...chunks), heard(whole))
    }
  )

  it.prop("has a line or a phase for each line end", [Log], ([log]) => {
    const text = log.join("")

    const ended = text.endsWith("\n") ? text.split("\n").slice(0, -1) : text.split("\n")
    // Only what is left at the very end can be nothing at all.
    const last = ended.at(-1) === "" || /^\r*$/.test(ended.at(-1)!)
    const open = !text.endsWith("\n") && last ? 1 : 0
    assert.strictEqual(heard(bytes(text)).length, ended.length - open)
  })
})
