import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Nbd from "../../../src/sandbox/block/Nbd.ts"
import { clientFlags, named, option, request } from "../../support/nbd.ts"

const sizeBytes = 10 * 4096

/** Everything that comes of these bytes, in pieces of this length. */
const eventsOf = (bytes: Uint8Array, piece = bytes.length): ReadonlyArray<Nbd.Event> => {
  const conversation = new Nbd.Conversation(sizeBytes)
  const events: Array<Nbd.Event> = []
  for (let at = 0; at < bytes.length; at += Math.max(1, piece)) {
    conversation.push(bytes.subarray(at, at + Math.max(1, piece)))
    for (let event = conversation.next(); event !== null; event = conversation.next()) {
      events.push(event)
      if (event._tag === "End") return events
    }
  }
  return events
}

const begun = (...parts: ReadonlyArray<Uint8Array>) => Buffer.concat([clientFlags, ...parts])
const inTransmission = (...parts: ReadonlyArray<Uint8Array>) => begun(option(7, named()), ...parts)

/** The kinds of the answers to options that were sent. */
const answersIn = (event: Nbd.Event | undefined): ReadonlyArray<number> => {
  const answers: Array<number> = []
  if (event?._tag !== "Send") return answers
  const bytes = Buffer.from(event.bytes)
  for (let at = 0; at < bytes.length; at += 20 + bytes.readUInt32BE(at + 16)) {
    assert.strictEqual(bytes.readBigUInt64BE(at), 0x3e889045565a9n)
    answers.push(bytes.readUInt32BE(at + 12))
  }
  return answers
}

const errorIn = (event: Nbd.Event | undefined) => {
  assert.strictEqual(event?._tag, "Send")
  return event?._tag === "Send" ? Buffer.from(event.bytes).readUInt32BE(4) : null
}

const [ack, server, info] = [1, 2, 3]
const error = (code: number) => 2 ** 31 + code

describe("Nbd", () => {
  it("greets as the fixed newstyle does", () => {
    assert.strictEqual(
      Buffer.from(new Nbd.Conversation(sizeBytes).greeting()).toString("latin1"),
      "NBDMAGICIHAVEOPT\0\x03"
    )
  })

  it.each([
    ["LIST", option(3), [server, ack]],
    ["LIST with data", option(3, Buffer.from("a")), [error(3)]],
    ["INFO", option(6, named()), [info, info, ack]],
    ["GO", option(7, named()), [info, info, ack]],
    ["GO for another export", option(7, named("other")), [error(6)]],
    ["GO whose name is longer than it", option(7, Buffer.from("000000ff0000", "hex")), [error(3)]],
    ["GO that is cut", option(7, Buffer.alloc(5)), [error(3)]],
    ["STARTTLS", option(5), [error(1)]],
    ["structured replies", option(8), [error(1)]],
    ["an option that nobody knows", option(77, Buffer.alloc(100)), [error(1)]]
  ] as const)("answers %s", (_, bytes, answers) => {
    assert.deepStrictEqual(answersIn(eventsOf(begun(bytes))[0]), answers)
  })

  it.each([
    [0, 124],
    [2, 0]
  ])("agrees by the old way, with flags %i and %i zeros", (flags, zeros) => {
    const [event] = eventsOf(Buffer.concat([Buffer.of(0, 0, 0, 1 | flags), option(1)]))

    assert.deepStrictEqual(event, {
      _tag: "Send",
      bytes: Buffer.concat([Buffer.from("000000000000a0000003", "hex"), Buffer.alloc(zeros)])
    })
  })

  it("takes reads of what there is", () => {
    const events = eventsOf(
      inTransmission(request(0, 1, 0, 1), request(0, 2, sizeBytes - 4096, 4096), request(0, 3, 4095, 2))
    )

    assert.deepStrictEqual(events.slice(1), [
      { _tag: "Read", cookie: 1n, offset: 0, length: 1 },
      { _tag: "Read", cookie: 2n, offset: sizeBytes - 4096, length: 4096 },
      { _tag: "Read", cookie: 3n, offset: 4095, length: 2 }
    ])
  })

  it.each([
    ["a read past the end", request(0, 7, sizeBytes - 1, 2), 22],
    ["a read far past the end", request(0, 7, 2n ** 64n - 1n, 4096), 22],
    ["a read of nothing", request(0, 7, 0, 0), 22],
    ["a read of too much", request(0, 7, 0, Nbd.requestBytesMax + 1), 22],
    ["a trim", request(4, 7, 0, 4096), 1],
    ["zeros written", request(6, 7, 0, 4096), 1],
    ["a flush", request(3, 7, 0, 0), 22],
    ["a command that nobody knows", request(99, 7, 0, 0), 22]
  ])("refuses %s, and goes on", (_, bytes, code) => {
    const events = eventsOf(inTransmission(bytes, request(0, 8, 0, 1)))

    assert.strictEqual(errorIn(events[1]), code)
    assert.deepInclude(events[2], { _tag: "Read", cookie: 8n })
  })

  it("refuses a write, and keeps nothing of its data", () => {
    const conversation = new Nbd.Conversation(sizeBytes)
    conversation.push(inTransmission(request(1, 7, 0, 2 ** 26)))
    conversation.next()
    assert.strictEqual(errorIn(conversation.next() ?? undefined), 1)

    const chunk = Buffer.alloc(2 ** 20)
    for (let left = 2 ** 26; left > 0; left -= chunk.length) {
      conversation.push(chunk)
      assert.isNull(conversation.next())
    }
    conversation.push(request(0, 8, 0, 1))

    assert.deepInclude(conversation.next(), { _tag: "Read", cookie: 8n })
  })

  it.each([
    ["an old client", Buffer.alloc(4)],
    ["flags from another time", Buffer.of(0, 0, 0, 9)],
    ["what is no option", begun(Buffer.alloc(16))],
    ["an option without end", begun(option(7).fill(0xff, 12))],
    ["another export by the old way", begun(option(1, Buffer.from("other")))],
    ["what is no request", inTransmission(Buffer.alloc(28))]
  ])("ends with %s", (_, bytes) => {
    assert.match(JSON.stringify(eventsOf(bytes).at(-1)), /"End","reason":"expected/)
  })

  it.each([
    ["aborts", begun(option(2))],
    ["disconnects", inTransmission(request(2, 7, 0, 0))]
  ])("ends when the client %s", (_, bytes) => {
    assert.deepStrictEqual(eventsOf(bytes).at(-1), { _tag: "End", reason: null })
  })

  const Piece = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 64 }))
  const Noise = Schema.Uint8Array
  it.prop("understands the same, however the bytes are cut", [Piece], ([piece]) => {
    const bytes = inTransmission(request(0, 1, 0, 4096), request(1, 2, 0, 3), Buffer.alloc(3), request(2, 3, 0, 0))

    assert.deepStrictEqual(eventsOf(bytes, piece), eventsOf(bytes))
  })

  it.prop("never throws, and asks for nothing that is not there", [Noise, Schema.Boolean], ([noise, begins]) => {
    for (const event of eventsOf(begins ? inTransmission(request(0, 1, 0, 1).subarray(0, 4), noise) : begun(noise))) {
      if (event._tag === "Read") assert.isAtMost(event.offset + event.length, sizeBytes)
    }
  })
})
