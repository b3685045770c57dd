import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Qmp from "../../../src/sandbox/microvm/Qmp.ts"

const greeting = '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}\r\n'
const answer = '{"return": {}}\r\n'
const status = (name: string, running: boolean) =>
  `{"return": {"status": "${name}", "singlestep": false, "running": ${running}}}\r\n`
const event = (name: string, data = "{}") =>
  `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "${name}", "data": ${data}}\r\n`

const said = (text: string) => new Qmp.Reader().push(text)
const endings = (text: string) => said(text).flatMap((each) => (each._tag === "Ended" ? [each.detail] : []))

describe("a machine's monitor", () => {
  it("is heard out without a word of interest", () => {
    assert.deepStrictEqual(said(greeting), [])
    assert.deepStrictEqual(said(event("RTC_CHANGE", '{"offset": 0}')), [])
    assert.deepStrictEqual(said(greeting + answer + status("running", true)), [
      { _tag: "Answered" },
      { _tag: "Answered" }
    ])
  })

  it.each([
    ["STOP", "{}", "its processors have stopped"],
    ["SHUTDOWN", '{"guest": true, "reason": "guest-reset"}', "it has shut down (guest-reset)"],
    ["RESET", '{"guest": true, "reason": "guest-reset"}', "it has started again"],
    ["GUEST_PANICKED", '{"action": "pause"}', "its kernel has given up"],
    [
      "BLOCK_IO_ERROR",
      '{"device": "", "nospace": true, "node-name": "scratch", "reason": "No space left on device", "operation": "write", "action": "stop"}',
      "the disk of this host is full"
    ],
    [
      "BLOCK_IO_ERROR",
      '{"device": "", "nospace": false, "node-name": "store", "reason": "Input/output error", "operation": "read", "action": "report"}',
      "its disk store cannot read: Input/output error"
    ]
  ])("says by %s %s that the machine is lost", (name, data, detail) => {
    assert.deepStrictEqual(endings(event(name, data)), [detail])
  })

  it("says so when asked, as after an error within KVM, which no event names", () => {
    assert.deepStrictEqual(endings(status("internal-error", false)), ["it is not running: internal-error"])
  })

  it.prop("is heard the same however its words are cut", [Schema.Array(Schema.Int)], ([cuts]) => {
    const text = greeting + answer + event("STOP") + status("running", true)
    const reader = new Qmp.Reader()
    const places = [...new Set(cuts.map((cut) => Math.abs(cut) % text.length))].sort((one, other) => one - other)
    const pieces = [0, ...places].map((place, index) => text.slice(place, places[index]))

    assert.deepStrictEqual(
      pieces.flatMap((piece) => reader.push(piece)),
      said(text)
    )
  })

  it("is not believed to be one when it speaks otherwise, or without end", () => {
    assert.deepStrictEqual(endings("what?\n"), ["its monitor says what is no message"])
    assert.deepStrictEqual(endings('{"return": 1, "event": 2}\n'), ["its monitor says what is no message"])
    assert.deepStrictEqual(endings('{"error": {"class": "x", "desc": "no"}}\n'), ["its monitor refuses a command: no"])
    assert.deepStrictEqual(endings("x".repeat(Qmp.lineBytesMax + 1)), ["its monitor says a line without end"])
  })

  it("is not listened to any more after a line without end", () => {
    const reader = new Qmp.Reader()
    reader.push("x".repeat(Qmp.lineBytesMax + 1))

    assert.deepStrictEqual(reader.push(`\n${answer}${"x".repeat(Qmp.lineBytesMax + 1)}`), [])
  })
})
