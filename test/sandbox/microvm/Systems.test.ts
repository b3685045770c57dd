import { assert, describe, it } from "@effect/vitest"
import * as Systems from "../../../src/sandbox/microvm/Systems.ts"

describe("the systems that are offered", () => {
  it("are those of this machine, with builtin builders, and of others", () => {
    const everything = { isEmulated: true, chosen: null }

    assert.deepStrictEqual(Systems.offered("x86_64", { ...everything, isNative: true }), [
      "x86_64-linux",
      "i686-linux",
      "builtin"
    ])
    assert.deepStrictEqual(Systems.offered("aarch64", { ...everything, isNative: false }), [
      "aarch64-linux",
      "armv7l-linux"
    ])
  })

  it("are no more than were chosen", () => {
    const chosen = ["aarch64-linux"]

    assert.deepStrictEqual(Systems.offered("x86_64", { isEmulated: true, isNative: true, chosen }), [])
    assert.deepStrictEqual(Systems.offered("aarch64", { isEmulated: true, isNative: false, chosen }), chosen)
  })

  it("leave out what a real processor may not have", () => {
    assert.deepStrictEqual(Systems.offered("aarch64", { isEmulated: false, isNative: false, chosen: null }), [
      "aarch64-linux"
    ])
  })

  it("know a machine by Node's name for it", () => {
    assert.strictEqual(Systems.nativeTo("arm64"), "aarch64")
    assert.isNull(Systems.nativeTo("constructor"))
  })
})
