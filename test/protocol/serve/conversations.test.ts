/** Whole conversations of real clients over `ssh://`, read from the first byte to the last. */
import { assert, describe, it } from "@effect/vitest"
import { Bytes, Effect } from "effect"
import type { Name, Request, Response } from "../../../src/protocol/serve/Command.ts"
import * as Handshake from "../../../src/protocol/serve/Handshake.ts"
import * as Source from "../../../src/protocol/wire/Source.ts"
import { printVersion } from "../../../src/protocol/wire/Variant.ts"
import { conversations } from "../../support/golden.ts"
import { pieces } from "../../support/pieces.ts"
import { type Step, walk } from "../../support/recording.ts"

const recorded = conversations("serve")

const of = (client: string, name: string) => {
  const found = recorded.find((one) => one.client === client && one.case === name)
  assert.isDefined(found)
  return walk(found)
}

const names = (steps: ReadonlyArray<Step>) => steps.map(({ name }) => name).join(" ")

const step = (steps: ReadonlyArray<Step>, name: Name): Step => {
  const found = steps.find((step) => step.name === name)
  assert.isDefined(found, name)
  return found
}

// The walk read them by the codec of the command.
const request = <N extends Name>(steps: ReadonlyArray<Step>, name: N) => step(steps, name).request!.value as Request<N>
const response = <N extends Name>(steps: ReadonlyArray<Step>, name: N) =>
  step(steps, name).response!.value as Response<N>

const trivial = "0khq5i3s0bjd6pz9aq2agm982jgmbw33-trivial"
const narHash = "4b8f3b0767e4a31409208a1bf4def8c267f0c3650d505172aecf2c652c4e0eb1"

describe("a client whose inputs are there already", () => {
  for (const [client, version] of [
    ["2.3.7", "2.5"],
    ["2.8.0", "2.7"],
    ["lix-2.95.3", "2.7"],
    ["2.26.3", "2.7"],
    ["2.34.8", "2.7"]
  ] as const) {
    it(`has ${client} build and fetch the output`, () => {
      const { agreed, complete, steps } = of(client, "build-ssh-already")

      assert.strictEqual(printVersion(agreed), version)
      assert.strictEqual(names(steps), "QueryValidPaths BuildDerivation QueryPathInfos DumpStorePath")
      assert.isTrue(complete)

      const { derivation, options } = request(steps, "BuildDerivation")
      assert.strictEqual(derivation.environment.length, 6)
      assert.strictEqual(options.secondsMax, 0)
      const { builtOutputs, status } = response(steps, "BuildDerivation")
      assert.strictEqual(status, "AlreadyValid")
      assert.deepStrictEqual(
        builtOutputs.map(({ path }) => path as string),
        version === "2.5" ? [] : [trivial]
      )

      const [info] = response(steps, "QueryPathInfos")
      assert.strictEqual(info?.narHash, narHash)
      assert.strictEqual(info?.narSize, 120)
    })
  }

  it("has 2.36.0 told its outputs by name", () => {
    const { agreed, steps } = of("2.36.0", "build-ssh-trivial")

    assert.strictEqual(printVersion(agreed), "2.8")
    const { builtOutputs, status } = response(steps, "BuildDerivation")
    assert.strictEqual(status, "Built")
    assert.deepStrictEqual(
      builtOutputs.map(({ name, path }) => [name, path as string]),
      [["out", trivial]]
    )
    assert.strictEqual(response(steps, "QueryPathInfos").length, 0)
  })
})

describe("a client that uploads", () => {
  for (const client of ["2.3.7", "2.8.0", "lix-2.95.3", "2.26.3", "2.34.8"]) {
    it(`has ${client} send a closure, path by path`, () => {
      const { complete, steps } = of(client, "ccopy-to")
      const added = steps.filter(({ name }) => name === "AddToStoreNar")

      assert.isTrue(complete)
      assert.deepStrictEqual(
        added.map(({ request }) => (request!.value as Request<"AddToStoreNar">).info.path.slice(33)),
        ["dep1", "dep2", "dep3"]
      )
    })
  }
})

describe("every conversation", () => {
  for (const recording of recorded) {
    it(`of ${recording.client} (${recording.case}) begins as the server expects`, () => {
      const { agreed, greeting } = walk(recording)
      for (const cut of [[8], [3], []]) {
        const written: Array<Uint8Array> = []
        const input = Source.fromChunks(pieces(greeting.toServer, cut))
        const write = (bytes: Uint8Array) => Effect.sync(() => written.push(bytes))

        assert.strictEqual(Effect.runSync(Handshake.accept(input, write, greeting.toClient[8]! | 0x0200)), agreed)
        assert.deepStrictEqual(Bytes.concat(written), greeting.toClient)
      }
    })

    // Of this client there are only recordings that were cut off.
    if (recording.client === "2.36.0") continue

    it(`of ${recording.client} (${recording.case}) ends where it ends, and not before`, () => {
      assert.isTrue(walk(recording).complete)
      assert.isFalse(walk({ ...recording, toClient: recording.toClient.subarray(0, -8) }).complete)
      assert.isFalse(walk({ ...recording, toServer: recording.toServer.subarray(0, -8), operations: [] }).complete)
    })
  }
})
