import { assert, describe, it } from "@effect/vitest"
import * as BuildId from "../../src/domain/BuildId.ts"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"

const path = (digit: string, name: string) => StorePath.make(`${digit.repeat(32)}-${name}`)
const bytes = (text: string) => new TextEncoder().encode(text)
const input = (name: string, hash: string, references: ReadonlyArray<StorePath> = []) => ({
  path: path("1", name),
  narHash: Sha256.make(hash.repeat(64)),
  references
})

const derivation: BasicDerivation = {
  outputs: [["out", { _tag: "InputAddressed", path: path("0", "hello") }]],
  inputSources: [],
  system: "x86_64-linux",
  builder: bytes("/bin/sh"),
  arguments: [bytes("-c"), bytes("true")],
  environment: [[bytes("a"), bytes("b")]]
}
const closure = [input("bash", "a"), input("glibc", "b")]
const base = BuildId.of("hello", derivation, closure)

describe("a build's identity", () => {
  it("is that of a fixed example: a change of it is a change of version", () => {
    assert.strictEqual(base, "de1d68eb4624c88c60e83ec2e99a01b94af50571dc899b16058cceae23c9823c")
  })

  it("is that of another example, with more of everything than is hashed at once", () => {
    const environment = [65_535, 65_536, 65_537, 200_000].map(
      (length, index) => [bytes(`é${index}`), new Uint8Array(length).fill(index)] as const
    )
    const closure = Array.from({ length: 2000 }, (_, index) => ({
      path: path("1", `input-${index}`),
      narHash: Sha256.make(String(index).padStart(64, "0")),
      references: [path("1", `input-${index}`), path("1", "glibc")]
    }))

    assert.strictEqual(
      BuildId.of("hello", { ...derivation, environment }, closure),
      "b538c981d16f313b542d6e10d43c15f0438c5bbceebd8ccb09095404d8d6e374"
    )
  })

  it("does not depend on the order of the closure, nor on the list of input sources", () => {
    assert.strictEqual(BuildId.of("hello", derivation, [...closure].reverse()), base)
    assert.strictEqual(BuildId.of("hello", { ...derivation, inputSources: [path("1", "bash")] }, closure), base)
  })

  const others: Record<string, BuildId.BuildId> = {
    "the name": BuildId.of("hallo", derivation, closure),
    "the system": BuildId.of("hello", { ...derivation, system: "i686-linux" }, closure),
    "the builder": BuildId.of("hello", { ...derivation, builder: bytes("/bin/ash") }, closure),
    "where one argument ends and the next begins": BuildId.of(
      "hello",
      { ...derivation, arguments: [bytes("-ct"), bytes("rue")] },
      closure
    ),
    "whether a word is an argument or in the environment": BuildId.of(
      "hello",
      { ...derivation, arguments: [], environment: [] },
      closure
    ),
    "a variable's value": BuildId.of("hello", { ...derivation, environment: [[bytes("a"), bytes("c")]] }, closure),
    "an output's path": BuildId.of(
      "hello",
      { ...derivation, outputs: [["out", { _tag: "InputAddressed", path: path("2", "hello") }]] },
      closure
    ),
    "what kind an output is": BuildId.of("hello", { ...derivation, outputs: [["out", { _tag: "Deferred" }]] }, closure),
    "an input's contents": BuildId.of("hello", derivation, [input("bash", "c"), input("glibc", "b")]),
    "an input's references": BuildId.of("hello", derivation, [
      input("bash", "a", [path("1", "glibc")]),
      input("glibc", "b")
    ]),
    "which inputs there are": BuildId.of("hello", derivation, [input("bash", "a")])
  }
  for (const [what, other] of Object.entries(others)) {
    it(`changes with ${what}`, () => assert.notStrictEqual(other, base))
  }
})
