import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as net from "node:net"
import * as path from "node:path"
import { attach } from "../../../src/sandbox/block/Attachment.ts"
import * as nbd from "../../support/nbd.ts"
import * as processes from "../../support/processes.ts"

const MiB = 2 ** 20

type Fill = Parameters<typeof attach>[1]["fill"]

/** A client of a disk whose reads the test answers itself; `ended` resolves with why it was over. */
const attached = Effect.fnUntraced(function* (fill: Fill) {
  const socketPath = path.join(yield* processes.directory, "s")
  let end = (_: string | null) => {}
  const ended = new Promise<string | null>((resolve) => {
    end = resolve
  })
  const server = net.createServer((socket) => attach(socket, { sizeBytes: 100 * MiB, fill }, end))
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(socketPath, resolve))),
    () => Effect.sync(() => server.close())
  )
  const client = yield* Effect.acquireRelease(
    Effect.promise(() => nbd.connect(socketPath)),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )
  yield* Effect.promise(() => nbd.go(client))
  return { client, ended }
})

/** Lets everything happen that is about to. */
const turns = (count: number) =>
  Effect.promise(async () => {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
  })

const requests = (count: number, length: number) =>
  Buffer.concat(Array.from({ length: count }, (_, index) => nbd.request(0, index, 0, length)))

describe("Attachment", () => {
  it.effect("takes up no more small requests at a time than a bound, and all of them in time", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const waiting: Array<() => void> = []
        let most = 0
        const { client } = yield* attached((_, __, ___, done) => {
          waiting.push(() => done(null))
          most = Math.max(most, waiting.length)
        })

        client.socket.write(requests(20_000, 1))
        let received = 0
        client.socket.on("data", (chunk) => {
          received += chunk.length
        })
        yield* turns(100)
        assert.isAbove(most, 100)
        while (received < 20_000 * 17) {
          for (const answer of waiting.splice(0)) answer()
          yield* turns(1)
        }

        assert.isAtMost(most, 1100)
      })
    )
  )

  it.effect("reads no further ahead for a client that does not listen", () =>
    Effect.scoped(
      Effect.gen(function* () {
        let filled = 0
        const { client } = yield* attached((_, __, { length }, done) => {
          filled += length
          done(null)
        })

        client.socket.removeAllListeners("data").pause()
        client.socket.write(requests(90, MiB))
        yield* turns(300)

        // What is under way, and what the system holds of it.
        assert.isAtMost(filled, 8 * MiB)
        let received = 0
        client.socket.on("data", (chunk) => {
          received += chunk.length
        })
        client.socket.resume()
        while (received < 90 * (MiB + 16)) yield* turns(1)
        assert.strictEqual(filled, 90 * MiB)
      })
    )
  )

  it.effect("answers in whichever order the disk does", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const waiting: Array<() => void> = []
        const { client } = yield* attached((_, __, ___, done) => {
          waiting.unshift(() => done(null))
          if (waiting.length === 2) for (const answer of waiting) answer()
        })

        client.socket.write(requests(2, 10))
        const [second, first] = [
          yield* Effect.promise(() => client.take(26)),
          yield* Effect.promise(() => client.take(26))
        ]

        assert.deepStrictEqual([second.readBigUInt64BE(8), first.readBigUInt64BE(8)], [1n, 0n])
      })
    )
  )

  it.effect("ends with who breaks the protocol, and says so once", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const waiting: Array<() => void> = []
        const { client, ended } = yield* attached((_, __, ___, done) => waiting.push(() => done(null)))

        client.socket.write(Buffer.concat([requests(1, 10), Buffer.alloc(28)]))

        assert.match((yield* Effect.promise(() => ended)) ?? "", /expected a request/)
        yield* Effect.promise(() => client.closed)
        // Its disk may be late.
        for (const answer of waiting) answer()
      })
    )
  )

  it.effect("has nothing to say of a client that is gone", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { client, ended } = yield* attached((_, __, ___, done) => done(null))

        client.socket.destroy()

        assert.isNull(yield* Effect.promise(() => ended))
      })
    )
  )
})
