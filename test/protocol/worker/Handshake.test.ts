import { assert, describe, it } from "@effect/vitest"
import { Bytes, Effect, Schema } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import * as Handshake from "../../../src/protocol/worker/Handshake.ts"
import * as Version from "../../../src/protocol/worker/Version.ts"
import { duplex } from "../../support/duplex.ts"
import { conversations } from "../../support/golden.ts"
import { pieces } from "../../support/pieces.ts"
import { walk } from "../../support/recording.ts"

const ours: Handshake.Server = {
  version: Version.newest,
  features: Version.offered,
  nixVersion: "2.34.8 (test)",
  trust: "trusted"
}

const AnyVersion = Schema.Int.check(Schema.isBetween({ minimum: Version.oldest, maximum: Version.newest }))
const Features = Schema.Array(Schema.Literals([...Version.offered, "disable-set-options"]))

/** What a server answers to these bytes, and what it makes of them. */
const answer = (bytes: ReadonlyArray<Uint8Array>) => {
  const written: Array<Uint8Array> = []
  const input = Source.fromChunks(bytes)
  const write = (bytes: Uint8Array) => Effect.sync(() => written.push(bytes))
  return Effect.map(Effect.result(Handshake.accept(input, write, ours)), (agreed) => ({
    agreed,
    written: Bytes.concat(written)
  }))
}

const words = (...values: ReadonlyArray<number>): Uint8Array =>
  Bytes.concat(values.map((value) => Codec.encode(Codec.u32, value, 0)))

describe("a handshake", () => {
  it.effect.prop(
    "ends with both sides of one mind, whoever speaks which version first",
    {
      version: AnyVersion,
      theirVersion: AnyVersion,
      features: Features,
      theirFeatures: Features,
      eager: Schema.Boolean
    },
    ({ eager, features, theirFeatures, theirVersion, version }) =>
      Effect.gen(function* () {
        const [left, right] = yield* duplex
        const server = { ...ours, version, features }
        const client = { version: theirVersion, features: theirFeatures, eager }

        const [agreed, opened] = yield* Effect.all(
          [Handshake.accept(right.input, right.write, server), Handshake.open(left.input, left.write, client)],
          { concurrency: "unbounded" }
        )

        assert.strictEqual(agreed, opened.agreed)
        assert.strictEqual(agreed & 0xffff, Math.min(version, theirVersion))
        assert.strictEqual(opened.server.nixVersion, agreed >= 0x0121 ? server.nixVersion : "")
        assert.strictEqual(opened.server.trust, agreed >= 0x0123 ? "trusted" : "unknown")
        for (const feature of Version.offered) {
          const isCommon = features.includes(feature) && theirFeatures.includes(feature)
          assert.strictEqual(Version.has(agreed, feature), isCommon && (agreed & 0xffff) === Version.newest)
        }
      })
  )

  for (const recording of conversations("worker")) {
    const { agreed, greeting } = walk(recording)

    it.effect(`is understood as ${recording.client} says it (${recording.case})`, () =>
      Effect.gen(function* () {
        for (const cut of [[8], [1], [3, 16], []]) {
          const answered = yield* answer(pieces(greeting.toServer, cut))

          assert.strictEqual(answered.agreed._tag, "Success")
          // What we offer is what the recorded server offered, or more.
          if (answered.agreed._tag === "Success") assert.strictEqual(answered.agreed.success, agreed)
          assert.deepStrictEqual(answered.written.subarray(0, 16), greeting.toClient.subarray(0, 16))
        }
      })
    )
  }

  it.effect("is answered by the server as soon as it has the magic", () =>
    Effect.gen(function* () {
      const { agreed, written } = yield* answer([words(0x6e697863)])

      assert.deepStrictEqual(written, words(0x6478696f, 0x0126))
      assert.strictEqual(agreed._tag, "Failure")
    })
  )

  it.effect("passes over a processor that Nix 2.3 asks to run on", () =>
    Effect.gen(function* () {
      const { agreed } = yield* answer([words(0x6e697863, 0x0115, 1, 3, 0)])

      assert.isTrue(agreed._tag === "Success" && agreed.success === 0x0115)
    })
  )

  it.effect("is refused for other lines of the protocol, older ones, and what is none", () =>
    Effect.gen(function* () {
      const refusals = [
        [words(0x6e697863, 0x010e), "expected worker protocol 1.15 or a later one of its line, found 1.14"],
        [words(0x6e697863, 0x0226), "expected worker protocol 1.15 or a later one of its line, found 2.38"],
        [words(0x6e697863, 0x10126), "expected at most 65535, found 65830"],
        [words(0x390c9deb, 0x0207), "expected 1852405859, found 957128171"],
        [words(0x6e697863, 0x0126, 65), "expected at most 64 elements, found 65"]
      ] as const
      for (const [bytes, message] of refusals) {
        const { agreed } = yield* answer([bytes])

        assert.strictEqual(agreed._tag === "Failure" ? agreed.failure.message : "agreed", message)
      }
    })
  )
})
