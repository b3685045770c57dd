import { assert, describe, it } from "@effect/vitest"
import * as Aterm from "../../../src/protocol/nix/Aterm.ts"
import { type Derivation, hasNetwork, kind, nameOf } from "../../../src/protocol/nix/Derivation.ts"
import * as OutputPaths from "../../../src/protocol/nix/OutputPaths.ts"
import * as Placeholder from "../../../src/protocol/nix/Placeholder.ts"
import * as Realisation from "../../../src/protocol/nix/Realisation.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import { derivations } from "../../golden/nix/derivations.ts"
import { realisations } from "../../golden/nix/realisations.ts"
import { accepted, refused } from "../../support/parsed.ts"

const all = new Map(
  Object.entries(derivations).map(([path, file]) => [StorePath.make(path), accepted(Aterm.parse(Buffer.from(file)))])
)

const named = (name: string): readonly [StorePath, Derivation] =>
  [...all].find(([path]) => accepted(nameOf(path)) === name) ?? assert.fail(name)

/** The same derivations but for one, which is another under the path that its file then has. */
const withChange = (name: string, change: (derivation: Derivation) => Derivation) => {
  const [path, derivation] = named(name)
  const changed = change(derivation)
  const others = [...all].filter(([other]) => other !== path)
  // First, since those that use it miss it.
  return new Map([[accepted(OutputPaths.derivationPath(name, changed)), changed], ...others])
}

const somewhere = StorePath.make(`${"0".repeat(32)}-user`)

describe("output paths", () => {
  it("are those that Nix 2.8.0 wrote, for every derivation of a closure", () => {
    const checked = accepted(OutputPaths.checkClosure(all))

    assert.strictEqual(checked.size, all.size)
    assert.strictEqual(checked.get(named("user")[0])?.kind, "Regular")
    assert.strictEqual(checked.get(named("sha1")[0])?.kind, "Fixed")
    for (const name of ["ca", "ca-user", "deferred", "impure", "impure-user"]) {
      assert.strictEqual(checked.get(named(name)[0])?.kind, "Deferred")
    }
  })

  it("do not depend on where a fixed output is fetched from", () => {
    const checked = accepted(OutputPaths.checkClosure(all))
    const same = [...all.keys()].filter((path) => path.endsWith("-same.drv")).map((path) => checked.get(path)?.hash)

    assert.strictEqual(same.length, 2)
    assert.strictEqual(same[0], same[1])
  })

  it("are found wrong when a derivation claims others", () => {
    const claims = withChange("odd+name._?=-x", (derivation) => ({
      ...derivation,
      outputs: [["out", { _tag: "InputAddressed", path: somewhere }]]
    }))
    assert.include(refused(OutputPaths.checkClosure(claims)), "!out to be")
  })

  it("are found wrong when the environment tells the builder others", () => {
    const told = withChange("odd+name._?=-x", (derivation) => ({
      ...derivation,
      environment: derivation.environment.map(([name, value]) =>
        Buffer.from(name).toString() === "out" ? [name, Buffer.from("/etc/passwd")] : [name, value]
      )
    }))
    assert.include(refused(OutputPaths.checkClosure(told)), "out in the environment")
  })

  it("are found wrong when the environment does not tell them, but for structured attributes", () => {
    /** With the right output paths, but not in the environment. */
    const untold = (name: string) =>
      withChange(name, (derivation) => {
        const outputs = new Set(derivation.outputs.map(([output]) => output))
        const blank = {
          ...derivation,
          environment: derivation.environment.filter(([name]) => !outputs.has(Buffer.from(name).toString()))
        }
        const paths = accepted(OutputPaths.expected(name, blank, new Map()))
        return {
          ...blank,
          outputs: paths.flatMap(([output, path]) => (path ? [[output, { _tag: "InputAddressed", path }]] : []))
        }
      })

    assert.include(refused(OutputPaths.checkClosure(untold("odd+name._?=-x"))), "out in the environment")
    assert.isOk(accepted(OutputPaths.checkClosure(untold("structured"))))
  })

  it("are found wrong of a fixed output whose hash is another", () => {
    const other = withChange("sha1", (derivation) => ({
      ...derivation,
      outputs: derivation.outputs.map(([name, output]) =>
        output._tag === "Fixed" ? [name, { ...output, hash: "0".repeat(40) }] : [name, output]
      )
    }))
    assert.include(refused(OutputPaths.checkClosure(other)), "!out to be")
  })

  it("are not known of a derivation under a path that is not its own", () => {
    const [, derivation] = named("multi")
    const path = StorePath.make(`${"0".repeat(32)}-multi.drv`)

    assert.include(refused(OutputPaths.checkClosure(new Map([[path, derivation]]))), `${path} to be`)
  })

  it("are not known when an input is missing, or has no such output", () => {
    const without = new Map([...all].filter(([path]) => path !== named("multi")[0]))
    assert.include(refused(OutputPaths.checkClosure(without)), "the derivation")

    const asking = withChange("user", (derivation) => ({
      ...derivation,
      inputDerivations: derivation.inputDerivations.map(([path]) => [path, { outputs: ["nothing"], dynamic: [] }])
    }))
    assert.include(refused(OutputPaths.checkClosure(asking)), "an output of")
  })

  it("are not looked for in circles", () => {
    const [, user] = named("user")
    const [a, b] = ["1", "2"].map((digit) => StorePath.make(`${digit.repeat(32)}-a.drv`))
    if (a === undefined || b === undefined) return
    const using = (path: StorePath): Derivation => ({
      ...user,
      inputDerivations: [[path, { outputs: ["out"], dynamic: [] }]]
    })

    assert.strictEqual(
      refused(
        OutputPaths.checkClosure(
          new Map([
            [a, using(b)],
            [b, using(a)]
          ])
        )
      ),
      "derivations without cycles"
    )
    assert.strictEqual(refused(OutputPaths.checkClosure(new Map([[a, using(a)]]))), "derivations without cycles")
  })

  it("are found however long the chain of derivations", () => {
    const [, odd] = named("odd+name._?=-x")
    const chain = new Map<StorePath, Derivation>()
    let last: StorePath | undefined
    let known: OutputPaths.Inputs = new Map()
    for (let length = 0; length < 12_000; length++) {
      const blank: Derivation = {
        ...odd,
        outputs: [["out", { _tag: "Deferred" }]],
        environment: [],
        inputDerivations: last === undefined ? [] : [[last, { outputs: ["out"], dynamic: [] }]]
      }
      last = accepted(OutputPaths.derivationPath("link", blank))
      chain.set(last, blank)
    }
    known = accepted(OutputPaths.checkClosure(new Map([...chain].toReversed())))
    assert.strictEqual(known.size, 12_000)
  })
})

describe("a realisation", () => {
  const checked = accepted(OutputPaths.checkClosure(all))

  it("is named by the hash that Nix 2.8.0 gave its derivation", () => {
    const ids = realisations.map((text) => accepted(Realisation.parseJson(text)).id.hash)

    const computed = ["ca-flat", "ca-self", "ca", "ca-user"].map((name) => {
      // The one that was resolved comes last.
      const [, derivation] =
        [...all].find(
          ([path, { inputDerivations, inputSources }]) =>
            accepted(nameOf(path)) === name && (inputDerivations.length > 0 || inputSources.length === 0)
        ) ?? assert.fail(name)
      return accepted(OutputPaths.realisationHash(name, derivation, checked))
    })
    assert.deepStrictEqual(ids, computed)
  })

  it("of a derivation that came without its inputs needs nothing else", () => {
    const resolved = all.get(StorePath.make("anfwbnnfl5y2kqj4h61mi624vlgscnp8-ca-user.drv")) ?? assert.fail("resolved")
    assert.deepStrictEqual(resolved.inputDerivations, [])

    // As Nix 2.8.0 registered it, in the table Realisations of its database.
    assert.strictEqual(
      accepted(OutputPaths.basicRealisationHash("ca-user", resolved)),
      "50e40e0b514ea8fcb87f03780b9961f5ec6fab652f7ea6f030113acf6758699c"
    )
  })
})

describe("a placeholder", () => {
  it("stands for a derivation's own output as Nix 2.8.0 has it", () => {
    assert.strictEqual(Placeholder.ofOutput("out"), "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")
  })

  it("stands for outputs of inputs that are not known yet", () => {
    const [, user] = [...all].find(([path]) => path.startsWith("dcpi0kdg")) ?? assert.fail("ca-user")
    const script = Buffer.from(user.arguments[2] ?? []).toString()

    assert.strictEqual(user.inputDerivations.length, 3)
    for (const [path] of user.inputDerivations) assert.include(script, accepted(Placeholder.ofInput(path, ["out"])))
  })

  it("is another for what the output of a derivation makes", () => {
    const [path] = named("ca")
    const placeholders = [["out"], ["dev"], ["out", "out"], ["out", "dev"]] as const
    assert.strictEqual(
      new Set(placeholders.map((outputs) => accepted(Placeholder.ofInput(path, [...outputs])))).size,
      4
    )
    assert.isString(refused(Placeholder.ofInput(somewhere, ["out"])))
  })
})

describe("the kind of a derivation", () => {
  it("is that of all its outputs", () => {
    const kinds = ["multi", "sha1", "ca", "impure", "deferred"].map((name) => kind(named(name)[1]))
    assert.deepStrictEqual(kinds, ["InputAddressed", "Fixed", "Floating", "Impure", "Deferred"])
    assert.deepStrictEqual(
      ["multi", "sha1", "ca", "impure"].map((name) => hasNetwork(named(name)[1])),
      [false, true, false, true]
    )
  })

  it("is none when they differ, when there are none, or a fixed one is not alone", () => {
    const [
      ,
      {
        outputs: [fixed]
      }
    ] = named("sha1")
    if (fixed === undefined) return assert.fail("no output")
    assert.isString(refused(kind({ outputs: [] })))
    refused(
      kind({
        outputs: [
          ["a", { _tag: "Deferred" }],
          ["b", { _tag: "Floating", method: "nar", algorithm: "sha256" }]
        ]
      })
    )
    assert.isString(refused(kind({ outputs: [["a", fixed[1]], fixed] })))
    assert.isString(refused(kind({ outputs: [["dev", fixed[1]]] })))
  })
})
