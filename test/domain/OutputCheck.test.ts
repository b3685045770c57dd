import { assert, describe, it } from "@effect/vitest"
import * as OutputCheck from "../../src/domain/OutputCheck.ts"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"

const path = (digit: string, name: string) => StorePath.make(`${digit.repeat(32)}-${name}`)
const bytes = (text: string) => new TextEncoder().encode(text)

const glibc = { path: path("0", "glibc"), narSize: 1000, references: [path("0", "glibc")] }
const bash = { path: path("1", "bash"), narSize: 200, references: [glibc.path] }
const out = { path: path("2", "tool"), narSize: 30, references: [bash.path, path("2", "tool")] }
const outputs = new Map([["out", out.path]])
const known = new Map([glibc, bash, out].map((each) => [each.path, each]))

const derivation = (environment: Record<string, string>): BasicDerivation => ({
  outputs: [["out", { _tag: "InputAddressed", path: out.path }]],
  inputSources: [],
  system: "x86_64-linux",
  builder: bytes("/bin/sh"),
  arguments: [],
  environment: Object.entries(environment).map(([name, value]) => [bytes(name), bytes(value)])
})
const checked = (environment: Record<string, string>) => {
  const checks = OutputCheck.of(derivation(environment))
  return checks === null ? "unreadable" : OutputCheck.check(checks.rules("out"), out, outputs, known)
}
const structured = (attributes: unknown) => checked({ __json: JSON.stringify(attributes) })
const store = "/nix/store"

describe("what an output may refer to", () => {
  it("is anything, where nothing is said", () => {
    assert.isNull(checked({}))
    assert.isNull(structured({}))
  })

  it("is what is named and itself by name, and nothing more", () => {
    assert.isNull(checked({ allowedReferences: `${store}/${bash.path}\n out` }))
    assert.strictEqual(
      checked({ allowedReferences: `${store}/${bash.path}` }),
      `output '${store}/${out.path}' is not allowed to refer to the following paths:\n  ${store}/${out.path}`
    )
    assert.match(checked({ allowedReferences: "" }) ?? "", /1{32}-bash\n.*2{32}-tool$/)
  })

  it("is not what is disallowed, directly or at any distance", () => {
    assert.isNull(checked({ disallowedReferences: `${store}/${glibc.path}` }))
    assert.match(checked({ disallowedRequisites: `${store}/${glibc.path}` }) ?? "", /not allowed to refer.*\n.*glibc/)
  })

  it("does not count itself among what it reaches, unless the structured rules say so", () => {
    const allowedRequisites = [glibc, bash].map(({ path }) => `${store}/${path}`)
    assert.isNull(checked({ allowedRequisites: allowedRequisites.join(" ") }))
    assert.match(structured({ outputChecks: { out: { allowedRequisites } } }) ?? "", /not allowed to refer/)
    assert.isNull(structured({ outputChecks: { out: { allowedRequisites, ignoreSelfRefs: true } } }))
  })

  it("is refused where it is said in words that name nothing", () => {
    const problem = "derivation contains an illegal reference specifier 'nonsense'"
    assert.strictEqual(checked({ disallowedReferences: "nonsense" }), problem)
  })

  it("is unreadable where the structured rules are", () => {
    assert.strictEqual(checked({ __json: "{" }), "unreadable")
    assert.strictEqual(structured({ outputChecks: { out: { maxSize: "large" } } }), "unreadable")
  })

  it("says nothing of an output that bears the name of an object's own member", () => {
    const checks = OutputCheck.of(derivation({ __json: "{}" }))
    assert.deepStrictEqual(checks?.rules("constructor"), {})
    assert.isFalse(checks?.discardsReferences("toString"))
  })
})

describe("how large an output may be", () => {
  it("is bounded by itself and with all that it reaches", () => {
    assert.isNull(structured({ outputChecks: { out: { maxSize: 30, maxClosureSize: 1230 } } }))
    assert.match(structured({ outputChecks: { out: { maxSize: 29 } } }) ?? "", /too large at 30 bytes; limit is 29/)
    assert.match(structured({ outputChecks: { out: { maxClosureSize: 1229 } } }) ?? "", /closure of .* at 1230 bytes/)
  })
})
