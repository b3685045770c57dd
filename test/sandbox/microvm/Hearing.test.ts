import { assert, describe, it } from "@effect/vitest"
import { setImmediate } from "node:timers/promises"
import { Readable } from "node:stream"
import { Hearing, turnBytesMax } from "../../../src/sandbox/microvm/Hearing.ts"

const chunk = Buffer.alloc(64 * 1024, "x")

describe("what is heard of a stream", () => {
  it("is so much a turn, however much is said", async () => {
    let said = 0
    let heard = 0
    const stream = new Readable({
      read() {
        said += chunk.length
        this.push(chunk)
      }
    })
    const hearing = new Hearing(stream, "latin1", (text) => {
      heard += text.length
    })
    for (let turn = 1; turn <= 3; turn++) {
      for (let round = 0; round < 1000; round++) await setImmediate()
      assert.isAtLeast(heard, turn * turnBytesMax)
      assert.isBelow(said, turn * (turnBytesMax + 4 * chunk.length))
      hearing.turn()
    }
    hearing.end()
    assert.isTrue(stream.destroyed)
  })

  it("is nothing of a stream that is not there", () => {
    const hearing = new Hearing(null, "utf8", () => assert.fail())
    hearing.turn()
    hearing.end()
  })
})
