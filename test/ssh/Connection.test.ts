import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Authentication } from "../../src/ssh/Authentication.ts"
import * as Connection from "../../src/ssh/Connection.ts"
import { newAccount } from "../support/account.ts"

const wire: Connection.Wire = { end: () => {}, destroy: () => {}, gone: Effect.void }

/** As SSH writes one: a length and a name, and another length before the key itself. */
const publicKey = Buffer.concat([
  Buffer.from([0, 0, 0, 11]),
  Buffer.from("ssh-ed25519"),
  Buffer.from([0, 0, 0, 32]),
  Buffer.alloc(32)
])

describe("a connection", () => {
  it.effect("ends for who asks for ever whether a key would do, and proves nothing", () =>
    Effect.gen(function* () {
      const connection = yield* Connection.make(wire, { attemptsMax: 5, handshakeTime: "60 seconds" })
      let answers = 0
      const accept = () => void answers++
      const unasked = () => assert.fail("nobody asks this")
      for (let index = 0; index < 100; index++) {
        connection.tell({ _tag: "KeyOffered", publicKey, proof: null, accept, reject: unasked })
      }

      assert.strictEqual(yield* connection.run(() => Effect.succeed(0), unasked), "refused")
      assert.strictEqual(answers, 10)
    }).pipe(
      Effect.provideService(Authentication, {
        findByKey: () => Effect.succeed(newAccount()),
        admit: () => Effect.succeed(null)
      })
    )
  )
})
