/**
 * Whole conversations of real clients, read from the first byte to the last.
 *
 * That they end where they should shows what goldens of single messages cannot: that each of them is
 * as long as both sides took it to be.
 */
import { assert, describe, it } from "@effect/vitest"
import type { PathInfo } from "../../../src/protocol/nix/PathInfo.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import type { Name, Request, Response } from "../../../src/protocol/worker/Operations.ts"
import * as Version from "../../../src/protocol/worker/Version.ts"
import { conversations } from "../../support/golden.ts"
import { Cursor, items, type Step, walk } from "../../support/recording.ts"

const recorded = conversations("worker")

const of = (client: string, name: string) => {
  const found = recorded.find((one) => one.client === client && one.case === name)
  assert.isDefined(found)
  return { recording: found, ...walk(found) }
}

const step = (steps: ReadonlyArray<Step>, name: Name): Step => {
  const found = steps.find((step) => step.name === name)
  assert.isDefined(found, name)
  return found
}

// The walk read them by the codec of the operation.
const request = <N extends Name>(steps: ReadonlyArray<Step>, name: N) => step(steps, name).request!.value as Request<N>
const response = <N extends Name>(steps: ReadonlyArray<Step>, name: N) =>
  step(steps, name).response!.value as Response<N>

const names = (steps: ReadonlyArray<Step>) => steps.map(({ name }) => name).join(" ")

const bb = StorePath.make("lm84viga06435nymjs592gg36ca852m7-bb")
const trivial = StorePath.make("0khq5i3s0bjd6pz9aq2agm982jgmbw33-trivial")

describe("a client whose inputs are there already", () => {
  const clients = [
    ["2.3.7", "1.21", "QueryValidPaths BuildDerivation QueryPathInfo NarFromPath"],
    ["2.8.0", "1.34", "QueryValidPaths AddMultipleToStore BuildDerivation QueryPathInfo NarFromPath"],
    ["lix-2.95.3", "1.35", "QueryValidPaths AddMultipleToStore BuildDerivation QueryPathInfo NarFromPath"],
    ["2.26.3", "1.38", "QueryValidPaths AddMultipleToStore BuildDerivation QueryPathInfo NarFromPath"],
    ["2.34.8", "1.38", "QueryValidPaths AddMultipleToStore BuildDerivation QueryPathInfo NarFromPath"]
  ] as const

  for (const [client, version, operations] of clients) {
    it(`has ${client} build and fetch the output`, () => {
      const { agreed, complete, steps } = of(client, "build-ng-already")

      assert.strictEqual(Version.print(agreed), version)
      assert.strictEqual(names(steps), operations)
      assert.isTrue(complete)

      const { derivation, mode, path } = request(steps, "BuildDerivation")
      assert.strictEqual(path, "6hj5slxlr9m4pdxagqh61a6ffzs9gwnc-trivial.drv")
      assert.strictEqual(mode, "normal")
      assert.deepStrictEqual(derivation.outputs, [["out", { _tag: "InputAddressed", path: trivial }]])
      assert.deepStrictEqual(derivation.inputSources, [bb])
      assert.strictEqual(derivation.system, "x86_64-linux")
      assert.strictEqual(new TextDecoder().decode(derivation.builder), `/nix/store/${bb}/bin/sh`)
      assert.strictEqual(derivation.arguments.length, 3)
      assert.strictEqual(derivation.environment.length, 6)

      const result = response(steps, "BuildDerivation")
      assert.strictEqual(result.status, "AlreadyValid")
      assert.deepStrictEqual(
        result.builtOutputs.map(({ name, path }) => [name, path]),
        version === "1.21" ? [] : [["out", trivial]]
      )

      const info = response(steps, "QueryPathInfo")
      assert.strictEqual(info?.narHash, "4b8f3b0767e4a31409208a1bf4def8c267f0c3650d505172aecf2c652c4e0eb1")
      assert.strictEqual(info?.narSize, 120)
      assert.isAbove(info?.registrationTime ?? 0, 1_700_000_000)
      assert.isTrue(info?.ultimate)
    })
  }

  it("has 2.36.0 told its outputs by name", () => {
    const { agreed, steps } = of("2.36.0", "build-ng-trivial")

    assert.strictEqual(Version.print(agreed), "1.38+realisation-with-path-not-hash+delete-dead-specific-referrers")
    assert.strictEqual(names(steps), "QueryValidPaths AddMultipleToStore BuildDerivation QueryPathInfo NarFromPath")
    const { builtOutputs, status } = response(steps, "BuildDerivation")
    assert.strictEqual(status, "Built")
    assert.deepStrictEqual(
      builtOutputs.map(({ name, path }) => [name, path]),
      [["out", trivial]]
    )
  })
})

describe("a client that uploads", () => {
  for (const client of ["2.8.0", "lix-2.95.3", "2.26.3", "2.34.8"]) {
    it(`has ${client} send a closure in one framed stream`, () => {
      const { complete, steps } = of(client, "copy-to-ng-again")
      const { framed } = step(steps, "AddMultipleToStore")
      const cursor = new Cursor(framed!)
      const sent: ReadonlyArray<PathInfo> = cursor.run(items())!.value

      assert.isTrue(complete && cursor.isAtEnd)
      assert.isTrue(request(steps, "AddMultipleToStore").dontCheckSignatures)
      assert.deepStrictEqual(
        sent.map(({ path, references }) => [path.slice(33), references.map((path) => path.slice(33))]),
        [
          ["dep1", []],
          ["dep2", []],
          ["dep3", ["dep1", "dep2"]]
        ]
      )
    })

    it(`has ${client} told of a refusal in the middle of its upload, and go on in step`, () => {
      const { complete, steps } = of(client, "copy-to-ng")
      const { messages, response } = step(steps, "AddMultipleToStore")

      assert.isTrue(complete)
      assert.isNull(response)
      const last = messages.at(-1)!.value
      assert.match(last._tag === "Error" ? last.message : "", /lacks a signature by a trusted key/)
    })
  }

  it("has 2.3.7 pulled, path by path", () => {
    const { complete, steps } = of("2.3.7", "copy-to-ng-again")
    const added = steps.filter(({ name }) => name === "AddToStoreNar")

    assert.isTrue(complete)
    assert.strictEqual(added.length, 3)
    for (const { messages } of added) assert.isTrue(messages.some(({ value }) => value._tag === "Read"))
  })
})

describe("every conversation", () => {
  for (const recording of recorded) {
    // Of this client there are only recordings that were cut off.
    if (recording.client === "2.36.0") continue

    it(`of ${recording.client} (${recording.case}) ends where it ends, and not before`, () => {
      const withoutServerEnd = { ...recording, toClient: recording.toClient.subarray(0, -8) }
      const withoutClientEnd = { ...recording, toServer: recording.toServer.subarray(0, -8), operations: [] }

      assert.isTrue(walk(recording).complete)
      assert.isFalse(walk(withoutServerEnd).complete)
      // A client that is pulled from ends with what it was last asked for, which no answer waits for.
      if (walk(recording).steps.at(-1)?.name !== "AddToStoreNar") assert.isFalse(walk(withoutClientEnd).complete)
    })
  }
})
