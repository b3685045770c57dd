import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as OutputPlan from "../../src/domain/OutputPlan.ts"
import type { BasicDerivation, Output } from "../../src/protocol/nix/Derivation.ts"
import * as Hash from "../../src/protocol/nix/Hash.ts"
import * as Store from "../../src/protocol/nix/StorePath.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { WireError } from "../../src/protocol/wire/Codec.ts"
import * as Source from "../../src/protocol/wire/Source.ts"
import { importOutputs } from "../../src/sandbox/OutputImport.ts"
import { OutputStore } from "../../src/sandbox/OutputStore.ts"
import * as FileBlobStore from "../../src/storage/blob/FileBlobStore.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { cut, narOf } from "../support/nar.ts"
import { TestDatabase } from "../support/postgres.ts"

const directory = fs.mkdtempSync("/tmp/drover-test-outputs-")
const Removed = Layer.effectDiscard(
  Effect.addFinalizer(() => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true })))
)
// Storage's failures are not met here, so they may pass for the sandbox floor's own.
const Outputs = Layer.effect(
  OutputStore,
  Effect.map(NarStore, ({ receive, reread }) => ({
    receive: (source, options) => Effect.catchTag(receive(source, options), "StorageError", Effect.die),
    reread: (nar) => Effect.map(Effect.orDie(reread(nar)), (source) => ({ ...source, peek: Effect.orDie(source.peek) }))
  }))
).pipe(
  Layer.provide(NarStore.layer),
  Layer.provide(FileBlobStore.layer(directory)),
  Layer.provide(TestDatabase),
  Layer.provide(Removed)
)

const path = (digit: string, name: string) => StorePath.make(`${digit.repeat(32)}-${name}`)
const derivationPath = path("d", "tool.drv")
const glibc = { path: path("0", "glibc"), narSize: 1000, references: [] }
const bash = { path: path("1", "bash"), narSize: 200, references: [glibc.path] }
const closure = [glibc, bash]
const text = (path: StorePath) => Store.print(path)

const derive = (outputs: BasicDerivation["outputs"], environment: Record<string, string> = {}): BasicDerivation => ({
  outputs,
  inputSources: [],
  system: "x86_64-linux",
  builder: new Uint8Array(0),
  arguments: [],
  environment: Object.entries(environment).map(([name, value]) => [Buffer.from(name), Buffer.from(value)])
})
const fixed = (method: "flat" | "nar", contents: Uint8Array): Output => ({
  _tag: "Fixed",
  path: path("5", "tool"),
  method,
  algorithm: "sha256",
  hash: Hash.digest("sha256", contents)
})
const floating: Output = { _tag: "Floating", method: "nar", algorithm: "sha256" }

/** Imports outputs whose NARs follow from where they were built, in chunks that cut hash parts. */
const take = Effect.fnUntraced(function* (
  derivation: BasicDerivation,
  nars: (builtAt: (name: string) => string) => Record<string, Uint8Array>,
  sizeMax?: number
) {
  const planned = OutputPlan.of(derivationPath, derivation)
  if (planned instanceof WireError) return yield* Effect.die(planned)
  const contents = nars((name) => text(planned.find((output) => output.name === name)!.path))
  return yield* importOutputs({
    derivationPath,
    derivation,
    planned,
    closure,
    read: (name) => Effect.succeed(Source.fromChunks(cut(contents[name]!, 33))),
    ...(sizeMax === undefined ? {} : { sizeMax })
  })
}, Effect.scoped)
const refused = (effect: ReturnType<typeof take>) => Effect.map(Effect.flip(effect), ({ message }) => message)

layer(Outputs)("importing outputs", (it) => {
  it.effect("finds what they refer to: inputs, siblings and themselves", () =>
    Effect.gen(function* () {
      const out: Output = { _tag: "InputAddressed", path: path("2", "tool") }
      const dev: Output = { _tag: "InputAddressed", path: path("3", "tool-dev") }

      const imported = yield* take(
        derive([
          ["dev", dev],
          ["out", out]
        ]),
        (builtAt) => ({
          dev: narOf(`${builtAt("out")} and ${text(bash.path)}`),
          out: narOf({ entries: { self: { target: builtAt("out") } } })
        })
      )

      const references = new Map(imported.map(({ name, references }) => [name, references]))
      assert.deepStrictEqual(references.get("dev"), [bash.path, out.path])
      assert.deepStrictEqual(references.get("out"), [out.path])
    })
  )

  it.effect("orders many outputs, each of which refers to the next", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 300 }, (_, index) => `o${String(index).padStart(3, "0")}`)
      const outputs = names.map((name, index): readonly [string, Output] => [
        name,
        { _tag: "InputAddressed", path: StorePath.make(`${String(index).padStart(32, "0")}-tool-${name}`) }
      ])
      const nars = (builtAt: (name: string) => string) =>
        Object.fromEntries(
          names.map((name, index) => [name, narOf(index + 1 < names.length ? builtAt(names[index + 1]!) : "last")])
        )

      const imported = yield* take(derive(outputs), nars)

      assert.deepStrictEqual(
        imported.map(({ name }) => name),
        names.toReversed()
      )
    })
  )

  it.effect("refuses outputs that refer to one another", () =>
    Effect.gen(function* () {
      const out: Output = { _tag: "InputAddressed", path: path("2", "tool") }
      const dev: Output = { _tag: "InputAddressed", path: path("3", "tool-dev") }
      const message = yield* refused(
        take(
          derive([
            ["dev", dev],
            ["out", out]
          ]),
          (builtAt) => ({ dev: narOf(builtAt("out")), out: narOf(builtAt("dev")) })
        )
      )
      assert.match(message, /^cycle detected in build of '\/nix\/store\/d{32}-tool.drv'/)
    })
  )

  it.effect("refuses what is no NAR", () =>
    Effect.gen(function* () {
      const out: Output = { _tag: "InputAddressed", path: path("2", "tool") }
      const message = yield* refused(take(derive([["out", out]]), () => ({ out: Buffer.from("nonsense") })))
      assert.match(message, /^an output cannot be taken: expected/)
    })
  )

  it.effect("refuses what goes on after its end", () =>
    Effect.gen(function* () {
      const out: Output = { _tag: "InputAddressed", path: path("2", "tool") }
      const message = yield* refused(
        take(derive([["out", out]]), () => ({ out: Buffer.concat([narOf("hello"), Buffer.alloc(8)]) }))
      )
      assert.match(message, /expected the end of a NAR, found more$/)
    })
  )

  it.effect("refuses what the derivation does not allow", () =>
    Effect.gen(function* () {
      const out: Output = { _tag: "InputAddressed", path: path("2", "tool") }
      const message = yield* refused(
        take(derive([["out", out]], { allowedReferences: "" }), () => ({ out: narOf(text(bash.path)) }))
      )
      assert.match(message, /is not allowed to refer to the following paths:\n {2}\/nix\/store\/1{32}-bash$/)
    })
  )

  it.effect("takes a fixed output that is what it should be", () =>
    Effect.gen(function* () {
      const [flat] = yield* take(derive([["out", fixed("flat", Buffer.from("hello"))]]), () => ({
        out: narOf("hello")
      }))
      assert.match(flat?.contentAddress ?? "", /^fixed:sha256:/)
      const nar = narOf({ entries: { a: "b" } })
      const [recursive] = yield* take(derive([["out", fixed("nar", nar)]]), () => ({ out: nar }))
      assert.match(recursive?.contentAddress ?? "", /^fixed:r:sha256:/)
    })
  )

  it.effect("refuses a fixed output that is not, and says both hashes as tools read them", () =>
    Effect.gen(function* () {
      const message = yield* refused(
        take(derive([["out", fixed("flat", Buffer.from("hello"))]]), () => ({ out: narOf("goodbye") }))
      )
      assert.strictEqual(
        message,
        "hash mismatch in fixed-output derivation '/nix/store/dddddddddddddddddddddddddddddddd-tool.drv':\n" +
          `  specified: ${Hash.printSri({ algorithm: "sha256", hex: Hash.digest("sha256", "hello") })}\n` +
          `     got:    ${Hash.printSri({ algorithm: "sha256", hex: Hash.digest("sha256", "goodbye") })}`
      )
    })
  )

  it.effect("refuses a flat output that is executable or no file, and a fixed one that refers to anything", () =>
    Effect.gen(function* () {
      const flat = derive([["out", fixed("flat", Buffer.from("hello"))]])
      assert.match(
        yield* refused(take(flat, () => ({ out: narOf({ executable: "hello" }) }))),
        /non-executable regular file/
      )
      assert.match(yield* refused(take(flat, () => ({ out: narOf({ entries: {} }) }))), /non-executable regular file/)
      const nar = narOf(text(bash.path))
      assert.match(
        yield* refused(take(derive([["out", fixed("nar", nar)]]), () => ({ out: nar }))),
        /must not reference/
      )
    })
  )

  it.effect("gives a floating output the path of its contents, wherever it was built", () =>
    Effect.gen(function* () {
      const [out] = yield* take(derive([["out", floating]]), () => ({ out: narOf("ca-content\n") }))
      assert.match(out?.path ?? "", /^[0-9a-z]{32}-tool$/)
      assert.strictEqual(
        out?.contentAddress,
        Hash.printNix32({ algorithm: "sha256", hex: out?.nar.narHash ?? "" }).replace(/^/, "fixed:r:")
      )
    })
  )

  it.effect("rewrites floating outputs to their final paths, those of siblings and their own", () =>
    Effect.gen(function* () {
      const outputs = derive([
        ["dev", floating],
        ["out", floating]
      ])
      const contents = (self: string, dev: string) => narOf({ entries: { a: `${self}/b ${dev}`, b: { target: self } } })
      let builtAt = ""

      const imported = yield* take(outputs, (at) => {
        builtAt = at("out")
        return { dev: narOf("dev"), out: contents(at("out"), at("dev")) }
      })

      const [dev, out] = [imported.find(({ name }) => name === "dev")!, imported.find(({ name }) => name === "out")!]
      assert.notStrictEqual(text(out.path), builtAt)
      assert.deepStrictEqual(out.references, Store.sorted([dev.path, out.path]))
      assert.strictEqual(out.nar.narHash, Hash.digestSha256(contents(text(out.path), text(dev.path))))
    })
  )

  it.effect("refuses outputs that are too large together, each of which is not", () =>
    Effect.gen(function* () {
      const outputs = derive([
        ["dev", { _tag: "InputAddressed", path: path("3", "tool-dev") }],
        ["out", { _tag: "InputAddressed", path: path("2", "tool") }]
      ])
      const nar = narOf("x".repeat(1000))
      const both = () => ({ dev: nar, out: nar })

      assert.lengthOf(yield* take(outputs, both, 2 * nar.length), 2)
      assert.match(yield* refused(take(outputs, both, 2 * nar.length - 1)), /expected a NAR of at most \d+ bytes/)
    })
  )

  it.effect("lets a self-reference count in the address by where it is, not by what it is", () =>
    Effect.gen(function* () {
      const at = (prefix: string) =>
        Effect.map(
          take(derive([["out", floating]]), (builtAt) => ({ out: narOf(`${prefix}${builtAt("out")}`) })),
          ([out]) => out!.path
        )
      assert.strictEqual(yield* at(""), yield* at(""))
      assert.notStrictEqual(yield* at(" "), yield* at("  "))
    })
  )
})
