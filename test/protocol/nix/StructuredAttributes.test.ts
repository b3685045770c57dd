import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Aterm from "../../../src/protocol/nix/Aterm.ts"
import { variable } from "../../../src/protocol/nix/Derivation.ts"
import * as Attributes from "../../../src/protocol/nix/StructuredAttributes.ts"
import * as goldens from "../../golden/nix/attributes.ts"
import { derivations } from "../../golden/nix/derivations.ts"
import { accepted, refused } from "../../support/parsed.ts"

const [, file = ""] = Object.entries(derivations).find(([path]) => path.endsWith("-structured.drv")) ?? []
const written = Buffer.from(variable(accepted(Aterm.parse(Buffer.from(file))), "__json") ?? []).toString()

const attribute = (value: string) => {
  const attributes = accepted(Attributes.parse(`{"a":${value}}`))
  return { json: Attributes.print(attributes).slice(5, -1), shell: Attributes.printShell(attributes) }
}

describe("structured attributes", () => {
  it("are the two files that Nix 2.8.0 gave a builder", () => {
    const given = accepted(Attributes.parse(goldens.json))

    assert.strictEqual(Attributes.print(given), goldens.json)
    assert.strictEqual(Attributes.printShell(given), goldens.shell)
  })

  it("come from the derivation, but for its outputs, their placeholders, and graphs", () => {
    const given = accepted(Attributes.parse(goldens.json))
    const own = accepted(Attributes.parse(written))
    const same = [...own.keys()].filter((name) => name !== "outputs" && name !== "self")

    assert.deepStrictEqual([...own.keys(), "graph"].sort(), [...given.keys()].sort())
    for (const name of same) {
      assert.strictEqual(Attributes.print(own.get(name) ?? null), Attributes.print(given.get(name) ?? null), name)
    }
  })

  it.prop("say each number by the fewest digits that are it", [Schema.Finite], ([number]) => {
    const { json } = attribute(JSON.stringify(number))
    assert.strictEqual(Number(json), number === 0 ? 0 : number)
    assert.match(json, /^-?([0-9]+|[0-9]+\.[0-9]+|[0-9](\.[0-9]+)?e[+-][0-9]{2,3})$/)
    assert.strictEqual(attribute(json).json, json)
  })

  it("say numbers as Nix's library does", () => {
    const numbers = {
      "0": "0",
      "-0": "0",
      "-0.0": "-0.0",
      "0.0": "0.0",
      "1.0": "1.0",
      "1E2": "100.0",
      "123456789012345.0": "123456789012345.0",
      "1234567890123456.0": "1.234567890123456e+15",
      "0.00012": "0.00012",
      "0.000012": "1.2e-05",
      "18446744073709551615": "18446744073709551615",
      "18446744073709551616": "1.8446744073709552e+19",
      "-9223372036854775808": "-9223372036854775808",
      "-9223372036854775809": "-9.223372036854776e+18"
    }
    for (const [source, digits] of Object.entries(numbers)) assert.strictEqual(attribute(source).json, digits, source)
  })

  it("are in a shell only what a shell can hold", () => {
    const shells = {
      '"it\'s"': "declare a='it'\\''s'\n",
      "2147483648": "declare a=-2147483648\n",
      "1e300": "declare a=-2147483648\n",
      "-3.0": "declare a=-3\n",
      "1.5": "",
      "[1.5]": "",
      "[[1]]": "",
      '{"b":{}}': "",
      "[]": "declare -a a=()\n"
    }
    for (const [json, shell] of Object.entries(shells)) assert.strictEqual(attribute(json).shell, shell, json)
    for (const name of ["a-b", "1a", "", "a b", "é", "a\n"]) {
      assert.strictEqual(Attributes.printShell(Attributes.object([[name, null]])), "")
    }
  })

  it("are refused when they are no object, or too deep", () => {
    for (const text of ["", "{", "[]", "1", "null"]) assert.isString(refused(Attributes.parse(text)))
    const deep = (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`
    assert.isOk(accepted(Attributes.parse(deep(60))))
    for (const depth of [65, 1000, 1_000_000]) assert.isString(refused(Attributes.parse(deep(depth))))
  })

  it("are refused with a number that nobody can hold, as by Nix's library", () => {
    for (const number of ["1e999", "-1e999", "9".repeat(1_000_000)]) {
      assert.isString(refused(Attributes.parse(`{"a":${number}}`)))
    }
  })

  it("are refused when they are larger than anybody writes", () => {
    const text = (length: number) => `{"a":"${"b".repeat(length - 8)}"}`
    assert.isOk(accepted(Attributes.parse(text(Attributes.charactersMax))))
    assert.isString(refused(Attributes.parse(text(Attributes.charactersMax + 1))))
  })

  it("have a number of any digits read at once", () => {
    assert.strictEqual(attribute(`1${"0".repeat(25)}`).json, "1e+25")
    assert.strictEqual(attribute(`0.${"0".repeat(1_000_000)}1`).json, "0.0")
  })
})
