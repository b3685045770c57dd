import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Aterm from "../../../src/protocol/nix/Aterm.ts"
import {
  BasicDerivation,
  type Derivation,
  OutputName,
  variable,
  type Wanted
} from "../../../src/protocol/nix/Derivation.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { WireError } from "../../../src/protocol/wire/Codec.ts"
import { derivations } from "../../golden/nix/derivations.ts"
import { accepted, refused } from "../../support/parsed.ts"

const Names = Schema.Array(OutputName)
const leaf = Schema.Struct({ outputs: Names, dynamic: Schema.Tuple([]) })
const nested = <S extends Schema.Schema<Wanted>>(inner: S) =>
  Schema.Struct({ outputs: Names, dynamic: Schema.Array(Schema.Tuple([OutputName, inner])) })
const Any = Schema.Struct({
  basic: BasicDerivation,
  inputDerivations: Schema.Array(Schema.Tuple([StorePath, Schema.Union([leaf, nested(nested(leaf))])]))
})

const byBytes = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b)
const byText = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** Sorted, each once: as a derivation has its lists. */
const set = <A, K>(items: ReadonlyArray<A>, key: (item: A) => K, compare: (a: K, b: K) => number): ReadonlyArray<A> =>
  [...items]
    .sort((a, b) => compare(key(a), key(b)))
    .filter((item, index, all) => index === 0 || compare(key(item), key(all[index - 1] ?? item)) !== 0)

const sortedWanted = ({ dynamic, outputs }: Wanted): Wanted => ({
  outputs: set(outputs, (name) => name, byText),
  dynamic: set(dynamic, ([name]) => name, byText).map(([name, wanted]) => [name, sortedWanted(wanted)])
})

const canonical = ({ basic, inputDerivations }: typeof Any.Type): Derivation => ({
  ...basic,
  outputs: set(basic.outputs, ([name]) => name, byText),
  inputSources: set(basic.inputSources, (path) => path, byText),
  environment: set(basic.environment, ([name]) => name, byBytes),
  inputDerivations: set(inputDerivations, ([path]) => path, byText).map(([path, wanted]) => [
    path,
    sortedWanted(wanted)
  ])
})

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes).toString())

describe("a derivation file", () => {
  for (const [path, file] of Object.entries(derivations)) {
    it(`is read and printed as Nix 2.8.0 wrote it: ${path}`, () => {
      const derivation = accepted(Aterm.parse(Buffer.from(file)))

      assert.strictEqual(Buffer.from(Aterm.print(derivation)).toString(), file)
    })
  }

  it("says what its author meant", () => {
    const file = derivations["4mr0v7d22v62bpqymll9apb1iai2b29w-odd+name._?=-x.drv"] ?? ""
    const odd = accepted(Aterm.parse(Buffer.from(file)))

    assert.strictEqual(text(variable(odd, "a")), 'q"uote \\ back\nnew\r\ttab ${x} ünï 💩')
    assert.strictEqual(text(variable(odd, "weird name")), "")
    assert.isUndefined(variable(odd, "nothing"))
    assert.deepStrictEqual(odd.arguments.map(text), ["", '"', "\\n"])
    assert.strictEqual(odd.system, "x86_64-linux")
  })

  it.prop("comes back from its text, dynamic inputs and bytes of any kind included", [Any], ([any]) => {
    const derivation = canonical(any)
    assert.deepStrictEqual(accepted(Aterm.parse(Aterm.print(derivation))), derivation)
  })

  it.prop("is printed in order, in whichever order it is held", [Any], ([any]) => {
    const derivation = canonical(any)
    const shuffled: Derivation = {
      ...derivation,
      outputs: derivation.outputs.toReversed(),
      inputSources: derivation.inputSources.toReversed(),
      inputDerivations: derivation.inputDerivations.toReversed(),
      environment: derivation.environment.toReversed()
    }
    assert.deepStrictEqual(Aterm.print(shuffled), Aterm.print(derivation))
  })

  const whole = derivations["0c18xkps3982wshpz9bjfb38wyfvcvqs-user.drv"] ?? ""

  it("is refused when it is cut anywhere, or goes on", () => {
    for (let length = 0; length < whole.length; length++)
      assert.isString(refused(Aterm.parse(Buffer.from(whole.slice(0, length)))))
    assert.include(refused(Aterm.parse(Buffer.from(`${whole}\n`))), "the end of the derivation")
  })

  it("is read or refused with any byte changed, and printed as it was if it is read", () => {
    let refusals = 0
    for (let index = 0; index < whole.length; index++) {
      for (const change of [0x01, 0x02, 0x20, 0x80, 0x7e]) {
        const changed = Buffer.from(whole)
        changed[index] = (changed[index] ?? 0) ^ change
        const parsed = Aterm.parse(changed)
        if (parsed instanceof WireError) refusals++
        else assert.deepStrictEqual(Buffer.from(Aterm.print(parsed)), changed)
      }
    }
    assert.isAbove(refusals, whole.length)
  })

  const path = (digit: string) => `/nix/store/${digit.repeat(32)}-a`
  const file = (parts: {
    outputs?: string
    inputs?: string
    sources?: string
    environment?: string
    system?: string
  }) =>
    `Derive([${parts.outputs ?? ""}],[${parts.inputs ?? ""}],[${parts.sources ?? ""}],${parts.system ?? '"s"'},"b",[],[${parts.environment ?? ""}])`
  const hostile: Record<string, readonly [file: string, expected: string]> = {
    "another word": ['Drive([],[],[],"","",[],[])', "Derive("],
    "white space": ['Derive([], [],[],"","",[],[])', "["],
    "an unknown version": ['DrvWithVersion("xp-other",[],[],[],"","",[],[])', '"xp-dyn-drv",'],
    "a version that it does not need": [`DrvWithVersion("xp-dyn-drv",${file({}).slice(7)}`, "as Nix writes it"],
    "variables out of order": [file({ environment: '("b",""),("a","")' }), "in order"],
    "a variable twice": [file({ environment: '("a",""),("a","")' }), "in order"],
    "outputs out of order": [file({ outputs: '("b","","",""),("a","","","")' }), "in order"],
    "sources out of order": [file({ sources: `"${path("1")}","${path("0")}"` }), "in order"],
    "a source that is no store path": [file({ sources: '"/etc/passwd"' }), "store path"],
    "inputs out of order": [file({ inputs: `("${path("1")}",["out"]),("${path("0")}",["out"])` }), "in order"],
    "wanted outputs out of order": [file({ inputs: `("${path("1")}",["out","dev"])` }), "in order"],
    "dynamic inputs where there are none": [file({ inputs: `("${path("1")}",(["out"],[("out",["bin"])]))` }), "["],
    "an output with a slash": [file({ outputs: '("a/b","","","")' }), "the name of an output"],
    "an output's hash in capitals": [
      file({ outputs: `("out","${path("1")}","md5","${"A".repeat(32)}")` }),
      "hash of an output"
    ],
    "an output's hash of another length": [file({ outputs: `("out","${path("1")}","md5","aa")` }), "hash of an output"],
    "an escape that is not needed": [file({ system: '"\\a"' }), "as Nix writes it"],
    "a newline that is not escaped": [file({ system: '"\n"' }), "as Nix writes it"],
    "a string without end": ['Derive([],[],[],"s', "a string and its closing quote"],
    "a comma too many": [file({ sources: `"${path("1")}",` }), '"']
  }
  for (const [what, [file, expected]] of Object.entries(hostile)) {
    it(`is refused with ${what}`, () => {
      assert.include(refused(Aterm.parse(Buffer.from(file))), expected)
    })
  }

  it("is refused when a name is no UTF-8", () => {
    assert.include(refused(Aterm.parse(Buffer.from(file({ system: '"\xff"' }), "latin1"))), "UTF-8")
  })

  it("may be nothing but escapes", () => {
    const escapes = file({ system: `"${"\\n".repeat(1_000_000)}"` })
    assert.isOk(accepted(Aterm.parse(Buffer.from(escapes))))
    assert.include(refused(Aterm.parse(Buffer.from(escapes.slice(0, -20)))), "closing quote")
    assert.include(refused(Aterm.parse(Buffer.from(escapes.slice(0, 1000) + "\\"))), "closing quote")
  })

  it("is refused when it is larger than anybody needs, or has more strings", () => {
    const many = (count: number) =>
      file({ environment: "" }).replace(",[],[])", `,[${Array(count).fill('""').join(",")}],[])`)

    assert.include(refused(Aterm.parse(Buffer.alloc(Aterm.fileBytesMax + 1))), "at most")
    assert.include(refused(Aterm.parse(Buffer.from(many(Aterm.stringsMax)))), "strings")
  })

  it("is refused when its inputs are deeper than anybody needs", () => {
    const deep = (depth: number) => `${"([" + '],[("out",'}`.repeat(depth) + "[]" + ")])".repeat(depth)
    const version = (depth: number) =>
      `DrvWithVersion("xp-dyn-drv",${file({ inputs: `("${path("1")}",${deep(depth)})` }).slice(7)}`

    assert.isOk(accepted(Aterm.parse(Buffer.from(version(Aterm.depthMax)))))
    assert.include(refused(Aterm.parse(Buffer.from(version(Aterm.depthMax + 1)))), "deep")
    assert.include(refused(Aterm.parse(Buffer.from(version(200_000)))), "deep")
  })
})
