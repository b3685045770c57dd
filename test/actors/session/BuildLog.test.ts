import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { isUtf8 } from "node:buffer"
import type { Heard } from "../../../src/actors/build/Builds.ts"
import * as BuildLog from "../../../src/actors/session/BuildLog.ts"
import * as Peer from "../../../src/actors/session/Peer.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import * as Stderr from "../../../src/protocol/wire/Stderr.ts"
import { newAccount } from "../../support/account.ts"
import * as Channel from "../../support/channel.ts"

const log = (text: string | Uint8Array): Heard => ({
  _tag: "Log",
  bytes: typeof text === "string" ? new TextEncoder().encode(text) : text
})
const service = (line: string): Heard => ({ _tag: "Service", line })
/** Bytes that are no text stand as their hex. */
const text = (bytes: Uint8Array | bigint | undefined) => {
  if (!(bytes instanceof Uint8Array)) return `${bytes}`
  return isUtf8(bytes)
    ? new TextDecoder().decode(bytes)
    : Buffer.from(bytes)
        .toString("latin1")
        .replace(/[^ -~]/g, (byte) => `<${byte.charCodeAt(0).toString(16)}>`)
}

/** What a client of this version is told, a line for each message. */
const told = Effect.fnUntraced(function* (version: number, heard: ReadonlyArray<Heard>) {
  const { channel, client } = Channel.make(newAccount())
  const peer = Peer.make(channel)
  yield* Effect.scoped(BuildLog.tellWorker({ peer, version, id: 7n, heard: Stream.fromIterable(heard) }))
  yield* peer.flush
  const read = Source.reader(client.input)
  const lines: Array<string> = []
  while (client.unread() > 0) {
    const message = yield* read(Stderr.Message, version)
    if (message._tag === "Result") lines.push(`${message.type} ${text(message.fields[0])}`)
    if (message._tag === "Next") lines.push(`next ${text(message.text)}`)
  }
  return lines
})

const onStderr = Effect.fnUntraced(function* (heard: ReadonlyArray<Heard>) {
  const { channel, client } = Channel.make(newAccount())
  yield* Effect.scoped(BuildLog.tellServe(channel, Stream.fromIterable(heard)))
  return client.errors()
})

describe("what a client hears of a build", () => {
  it.effect("is a result for each line, with the service's own between the builder's", () =>
    Effect.gen(function* () {
      const lines = yield* told(0x0126, [
        log("one\ntw"),
        service("waiting"),
        log('o\n@nix {"action":"setPhase","phase":"p"}\nend')
      ])

      assert.deepStrictEqual(lines, [
        "buildLogLine one",
        "buildLogLine waiting",
        "buildLogLine two",
        "setPhase p",
        "buildLogLine end"
      ])
    })
  )

  it.effect("is text for Nix 2.3, which breaks on bytes that are none", () =>
    Effect.gen(function* () {
      const bytes = log(Uint8Array.of(0x61, 0xff, 0x0a))

      assert.deepStrictEqual(yield* told(0x0115, [bytes]), ["buildLogLine a\ufffd"])
      assert.deepStrictEqual(yield* told(0x0116, [bytes]), ["buildLogLine a<ff>"])
    })
  )

  it.effect("is plain messages for clients that know no activities", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* told(0x0113, [log("one\n")]), ["next one\n"])
    })
  )

  it.effect("goes out in few writes when much of it waits", () =>
    Effect.gen(function* () {
      const { channel, client } = Channel.make(newAccount())
      const lines = Array.from({ length: 1000 }, (_, index) => log(`line ${index}\n`))

      yield* Effect.scoped(
        BuildLog.tellWorker({ peer: Peer.make(channel), version: 0x0126, id: 1n, heard: Stream.fromIterable(lines) })
      )

      assert.isBelow(client.writes(), 100)
    })
  )

  it.effect("is not held back until there is more", () =>
    Effect.gen(function* () {
      const { channel, client } = Channel.make(newAccount())
      const never = Stream.concat(Stream.succeed(log("one\n")), Stream.never)
      const telling = yield* Effect.forkChild(
        Effect.scoped(BuildLog.tellWorker({ peer: Peer.make(channel), version: 0x0126, id: 1n, heard: never }))
      )

      const message = yield* Source.reader(client.input)(Stderr.Message, 0x0126)

      assert.strictEqual(message._tag, "Result")
      yield* Fiber.interrupt(telling)
    })
  )

  it.effect("waits in the log, not in memory, while the client does not read", () =>
    Effect.gen(function* () {
      const { channel, client } = Channel.make(newAccount(), { windowBytes: 4096 })
      const stopped = yield* Deferred.make<void>()
      let pulled = 0
      const endless = Stream.forever(
        Stream.fromEffect(
          Effect.sync(() => {
            pulled++
            if (pulled > 100) Deferred.doneUnsafe(stopped, Effect.void)
            return log("x".repeat(4096))
          })
        )
      )
      const telling = yield* Effect.forkChild(
        Effect.scoped(BuildLog.tellServe({ ...channel, writeError: channel.write }, endless))
      )

      yield* Effect.yieldNow.pipe(Effect.repeat({ times: 1000 }))

      assert.isFalse(yield* Deferred.isDone(stopped))
      assert.isBelow(client.unread(), 100 * 4096)
      yield* Fiber.interrupt(telling)
    })
  )

  it.effect("over ssh:// is the builder's bytes, and ends with a line end", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* onStderr([log("one\r\ntwo")]), "one\r\ntwo\n")
      assert.strictEqual(yield* onStderr([log("one\n")]), "one\n")
      assert.strictEqual(yield* onStderr([]), "")
    })
  )

  it.effect("over ssh:// never has a service line inside a line of the builder's", () =>
    Effect.gen(function* () {
      assert.strictEqual(
        yield* onStderr([log("on"), service("waiting"), log("e\n"), service("done")]),
        "on\nwaiting\ne\ndone\n"
      )
    })
  )
})
