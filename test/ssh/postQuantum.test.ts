/**
 * Keys exchanged by ML-KEM: recorded today, what is said over them is not to be read by the computers of tomorrow.
 *
 * The client is not ssh2's but `bootstrap/kex-client.cjs`, which shares no code with it. OpenSSH's own is
 * `test/openssh/main.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as Door from "../support/sshDoor.ts"

interface Exchanged {
  readonly hostKey: string
  readonly offered: ReadonlyArray<string>
}

// Plain JavaScript, since the bootstrap uses it before there is anything else; its header says what it gives.
const client = createRequire(import.meta.url)("../../bootstrap/kex-client.cjs") as {
  readonly method: string
  readonly keyBytes: number
  readonly exchange: (options: {
    readonly host: string
    readonly port: number
    readonly change?: (init: Buffer) => Buffer
  }) => Promise<Exchanged>
}

const exchange = ({ port }: Door.Door, change?: (init: Buffer) => Buffer) =>
  Effect.promise(() => client.exchange({ host: "127.0.0.1", port, ...(change === undefined ? {} : { change }) }))

/** In which words. */
const failed = ({ port }: Door.Door, change: (init: Buffer) => Buffer) =>
  Effect.promise(() =>
    client.exchange({ host: "127.0.0.1", port, change }).then(
      () => "exchanged",
      (error: Error) => error.message
    )
  )

describe("the door", () => {
  it.live("exchanges keys by ML-KEM, before all other methods, and has the same secret", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const known = fs.readFileSync(door.file("host.pub"), "utf8").split(" ")[1]

      // Secrets that begin with a zero or a high bit are those that are written wrongly, if any are.
      for (let count = 0; count < 16; count++) {
        const { hostKey, offered } = yield* exchange(door)
        assert.strictEqual(hostKey, known)
        assert.strictEqual(offered[0], client.method)
      }
    }).pipe(Effect.scoped)
  )

  const { keyBytes } = client
  const wrong: Readonly<Record<string, (init: Buffer) => Buffer>> = {
    "is empty": () => Buffer.alloc(0),
    "has no second key": (init) => init.subarray(0, keyBytes),
    "is a byte short": (init) => init.subarray(1),
    "is a byte long": (init) => Buffer.concat([init, Buffer.from([0])]),
    "is as long as a packet may be": () => Buffer.alloc(34_000, 1),
    "has coefficients that are too large": (init) => Buffer.concat([Buffer.alloc(1152, 0xff), init.subarray(1152)]),
    "has a point whose every multiple is zero": (init) => Buffer.concat([init.subarray(0, keyBytes), Buffer.alloc(32)]),
    "has another point of small order": (init) =>
      Buffer.concat([init.subarray(0, keyBytes), Buffer.from([1]), Buffer.alloc(31)])
  }
  for (const [what, change] of Object.entries(wrong)) {
    it.live(`ends a connection whose key ${what}, and serves the next`, () =>
      Effect.gen(function* () {
        const door = yield* Door.open()

        // Either it is closed at once, or told so first: a message to disconnect is number 1.
        assert.match(yield* failed(door, change), /has closed the connection|found message 1$/)
        yield* exchange(door)
      }).pipe(Effect.scoped)
    )
  }

  it.live("has another secret than a client whose key was changed on the way", () =>
    Effect.gen(function* () {
      const door = yield* Door.open()
      const changed = (init: Buffer) => {
        const other = Buffer.from(init)
        // The seed, of which every value is allowed.
        other[keyBytes - 1]! ^= 1
        return other
      }

      assert.match(yield* failed(door, changed), /has another secret/)
    }).pipe(Effect.scoped)
  )
})
