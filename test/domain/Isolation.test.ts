/** Who is apart from whom is what the operator says, in the words of the record. */
import { assert, describe, it } from "@effect/vitest"
import type { Backend } from "../../src/domain/Attempt.ts"
import * as Isolation from "../../src/domain/Isolation.ts"

describe("isolating backends", () => {
  it.each([
    ["kvm", ["kvm"]],
    ["kvm,emulated,kvm", ["kvm", "emulated"]],
    ["process", ["process"]],
    ["none", []]
  ] satisfies ReadonlyArray<readonly [string, Array<Backend>]>)("%s", (text, backends) => {
    assert.deepStrictEqual(Isolation.parse(text), backends)
    assert.deepStrictEqual(Isolation.parse(Isolation.print(Isolation.parse(text)!)), backends)
  })

  it.each(["", "kvm,", "all", "none,kvm", "KVM"])("are not %j", (text) => {
    assert.isUndefined(Isolation.parse(text))
  })

  it("are those with kernels of their own, unless somebody says otherwise", () => {
    assert.deepStrictEqual([...Isolation.isolatingDefault], ["kvm", "emulated"])
  })
})
