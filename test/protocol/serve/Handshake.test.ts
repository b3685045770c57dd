import { assert, describe, it } from "@effect/vitest"
import { Bytes, Effect, Schema } from "effect"
import * as Handshake from "../../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { duplex } from "../../support/duplex.ts"

const AnyVersion = Schema.Int.check(Schema.isBetween({ minimum: Handshake.oldest, maximum: Handshake.newest }))

const words = (...values: ReadonlyArray<number>): Uint8Array =>
  Bytes.concat(values.map((value) => Codec.encode(Codec.u32, value, 0)))

describe("a handshake", () => {
  it.effect.prop("ends with both sides at the lower version", [AnyVersion, AnyVersion], ([version, theirs]) =>
    Effect.gen(function* () {
      const [left, right] = yield* duplex

      const agreed = yield* Effect.all(
        [Handshake.accept(right.input, right.write, version), Handshake.open(left.input, left.write, theirs)],
        { concurrency: "unbounded" }
      )

      assert.deepStrictEqual(agreed, [Math.min(version, theirs), Math.min(version, theirs)])
    })
  )

  it.effect("is answered by the server as soon as it has the magic", () =>
    Effect.gen(function* () {
      const written: Array<Uint8Array> = []
      const write = (bytes: Uint8Array) => Effect.sync(() => written.push(bytes))

      yield* Effect.flip(Handshake.accept(Source.fromChunks([words(0x390c9deb)]), write))

      assert.deepStrictEqual(written, [words(0x5452eecb, 0x0208)])
    })
  )

  it.effect("is refused for older versions, other lines, and other protocols", () =>
    Effect.gen(function* () {
      const refusals = [
        [words(0x390c9deb, 0x0204), "expected serve protocol 2.5 or a later one of its line, found 2.4"],
        [words(0x390c9deb, 0x0308), "expected serve protocol 2.5 or a later one of its line, found 3.8"],
        [words(0x6e697863, 0x0126), "expected 957128171, found 1852405859"]
      ] as const
      for (const [bytes, message] of refusals) {
        const error = yield* Effect.flip(Handshake.accept(Source.fromChunks([bytes]), () => Effect.void))

        assert.strictEqual(error.message, message)
      }
    })
  )
})
