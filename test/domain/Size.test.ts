/** Sizes are binary, have a unit, and are written as they are read. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Size from "../../src/domain/Size.ts"

describe("a size", () => {
  it.each([
    ["512M", 512 * 1024 ** 2],
    ["11G", 11 * 1024 ** 3],
    ["1k", 1024],
    ["2T", 2 * 1024 ** 4]
  ])("%s is %d bytes", (text, bytes) => {
    assert.strictEqual(Size.parse(text), bytes)
  })

  it.each(["", "11", "0G", "-1G", "1.5G", "1GB", "G", "1 G", " 1G", "01G", "9999999999G", "999999999T"])(
    "%j is none",
    (text) => {
      assert.isNull(Size.parse(text))
    }
  )

  it.prop(
    "reads what it prints",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 32 }))],
    ([kibibytes]) => {
      assert.strictEqual(Size.parse(Size.print(kibibytes * 1024)), kibibytes * 1024)
    }
  )
})
