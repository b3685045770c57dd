import { assert, describe, it } from "@effect/vitest"
import * as Requirements from "../../src/domain/Requirements.ts"
import { bytes, derive } from "../support/building.ts"

const asking = (features: string, system = "x86_64-linux") =>
  derive({
    system,
    environment: [["requiredSystemFeatures", features] as const].map(([name, value]) => [bytes(name), bytes(value)])
  }).derivation

const refusalOf = (features: string, system?: string) => {
  const derivation = asking(features, system)
  return Requirements.refusal(derivation, Requirements.of(derivation))
}

describe("what a derivation requires", () => {
  it("may be any words that a host could have", () => {
    assert.isNull(refusalOf("kvm big-parallel gccarch-x86-64-v3 uid-range"))
    assert.isNull(refusalOf("", "powerpc64le-linux"))
  })

  it("is refused where no record could hold it, or no terminal should", () => {
    for (const odd of ["k\0vm", "k\x1b[2Jvm", "kvm\u00e9", "k".repeat(256)]) {
      assert.include(refusalOf(odd), "printable ASCII")
      assert.include(refusalOf("", odd), "printable ASCII")
    }
    const derivation = derive({
      environment: [[bytes("__json"), bytes('{"requiredSystemFeatures":["k\\ud800vm"]}')]]
    }).derivation
    assert.include(Requirements.refusal(derivation, Requirements.of(derivation)), "printable ASCII")
  })

  it("is refused where it is more than any host has", () => {
    const names = (count: number) => Array.from({ length: count }, (_, index) => `feature-${index}`).join(" ")
    assert.isNull(refusalOf(names(64)))
    assert.include(refusalOf(names(65)), "at most 64")
  })
})
