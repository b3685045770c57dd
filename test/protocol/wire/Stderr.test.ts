import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Stderr from "../../../src/protocol/wire/Stderr.ts"
import { stderrGoldens } from "../../support/golden.ts"
import * as Laws from "../../support/laws.ts"

const goldens = stderrGoldens().map((golden) => ({
  ...golden,
  message: Result.getOrThrow(Codec.decode(Stderr.Message, golden.bytes, golden.agreed))
}))

const encode = (message: Stderr.Message, version: Codec.Version) => Codec.encode(Stderr.Message, message, version)

describe("what a server says while it works", () => {
  for (const { agreed, bytes, client, message, case: where } of goldens) {
    const kind = "type" in message ? `${message._tag} of type ${message.type}` : message._tag

    it(`is read as ${client} was told ${kind} in ${where}, and written back unchanged`, () => {
      assert.deepStrictEqual(encode(message, agreed), bytes)
    })
  }

  Laws.obey(Stderr.Message, {
    newest: 0x0126,
    older: [0x0119, 0x0115],
    newestSays: (message) => (message._tag === "Error" ? { ...message, exitStatus: 1 } : message)
  })

  it("tells an error to clients before 1.26 by its text and an exit status", () => {
    const told = encode(Stderr.failure("no such path"), 0x0115)

    assert.deepStrictEqual(
      told.subarray(8),
      Codec.encode(Codec.struct({ message: Codec.text, status: Codec.u64 }), { message: "no such path", status: 1n }, 0)
    )
  })

  it("tells an error to clients from 1.26 on with what led to it", () => {
    const error: Stderr.Message = {
      _tag: "Error",
      message: "no such path",
      traces: ["while copying"],
      exitStatus: 1
    }
    const back = (version: Codec.Version) => Codec.decode(Stderr.Message, encode(error, version), version)

    assert.deepStrictEqual(back(0x011a), Result.succeed(error))
    assert.deepStrictEqual(back(0x0119), Result.succeed(Stderr.failure("no such path")))
    assert.isTrue(Result.isFailure(Codec.decode(Stderr.Message, encode(error, 0x011a), 0x0119)))
  })

  it("refuses a message that nobody knows", () => {
    const unknown = Codec.encode(Codec.u64, 0x64617463n, 0)

    assert.isTrue(Result.isFailure(Codec.decode(Stderr.Message, unknown, 0x0126)))
  })
})

describe("the log of a build", () => {
  it("begins as Nix begins it", () => {
    const begun = goldens.filter(({ message }) => message._tag === "StartActivity" && message.type === "build")

    assert.isNotEmpty(begun)
    for (const { agreed, bytes, message } of begun) {
      if (message._tag !== "StartActivity") continue
      const derivation = new TextDecoder().decode(message.fields[0] as Uint8Array)
      assert.deepStrictEqual(encode(Stderr.startBuild(message.id, derivation), agreed), bytes)
    }
  })

  it("has lines, phases and an end as Nix writes them", () => {
    let compared = 0
    for (const { agreed, bytes, message } of goldens) {
      if (message._tag === "StopActivity") {
        assert.deepStrictEqual(encode(Stderr.stop(message.id), agreed), bytes)
        compared++
      }
      if (message._tag !== "Result") continue
      const [field] = message.fields
      if (message.type === "buildLogLine" && field instanceof Uint8Array) {
        assert.deepStrictEqual(encode(Stderr.logLine(message.id, field), agreed), bytes)
        compared++
      }
      if (message.type === "setPhase" && field instanceof Uint8Array) {
        assert.deepStrictEqual(encode(Stderr.setPhase(message.id, new TextDecoder().decode(field)), agreed), bytes)
        compared++
      }
    }
    assert.isAtLeast(compared, 10)
  })

  it("passes bytes that are no text", () => {
    const line = Uint8Array.of(0x61, 0xff, 0x00, 0x1b)
    const told = Result.getOrThrow(Codec.decode(Stderr.Message, encode(Stderr.logLine(7n, line), 0x0126), 0x0126))

    assert.deepStrictEqual(told, { _tag: "Result", id: 7n, type: "buildLogLine", fields: [line] })
  })
})
