import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Peer from "../../../src/actors/session/Peer.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import { newAccount } from "../../support/account.ts"
import * as Channel from "../../support/channel.ts"

/** A peer whose channel keeps what it is given, as one that cannot send at once may. */
const keeping = () => {
  const written: Array<Uint8Array> = []
  const { channel } = Channel.make(newAccount())
  const peer = Peer.make({ ...channel, write: (bytes) => Effect.sync(() => void written.push(bytes)) })
  return { peer, written }
}

describe("a peer", () => {
  it.effect.prop(
    "is written what it was told, whatever the sizes, and nobody changes it afterwards",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 150_000 })))],
    ([sizes]) =>
      Effect.gen(function* () {
        const { peer, written } = keeping()
        const said = sizes.map((size, index) => Buffer.alloc(size, index + 1))

        for (const [index, bytes] of said.entries()) {
          yield* index % 2 === 0 ? peer.tellBytes(bytes) : peer.tell(Codec.bytes, bytes, 0)
          if (index % 3 === 0) yield* peer.flush
        }
        yield* peer.flush

        const expected = said.map((bytes, index) => (index % 2 === 0 ? bytes : Codec.encode(Codec.bytes, bytes, 0)))
        assert.isTrue(Buffer.concat(written).equals(Buffer.concat(expected)))
      })
  )

  it.effect("gathers words into one write", () =>
    Effect.gen(function* () {
      const { peer, written } = keeping()

      for (let index = 0; index < 100; index++) yield* peer.tell(Codec.u64, 1n, 0)
      assert.strictEqual(written.length, 0)
      yield* peer.flush

      assert.strictEqual(written.length, 1)
      yield* peer.flush
      assert.strictEqual(written.length, 1)
    })
  )
})
