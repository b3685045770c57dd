import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type * as Nix from "../../../src/protocol/nix/BuildResult.ts"
import { Sha256 } from "../../../src/protocol/nix/Hash.ts"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import { BuildResult, unknownHash } from "../../../src/protocol/worker/BuildResult.ts"
import { agree, newest, offered } from "../../../src/protocol/worker/Version.ts"

const withFeatures = agree({ version: newest, features: offered }, { version: newest, features: offered })

const output = (name: string): Nix.BuiltOutput => ({
  name,
  path: StorePath.make(`0khq5i3s0bjd6pz9aq2agm982jgmbw33-trivial${name === "out" ? "" : `-${name}`}`),
  hash: Sha256.make("ab".repeat(32)),
  signatures: ["key:signature"]
})

const result: Nix.BuildResult = {
  status: "Built",
  error: "",
  timesBuilt: 1,
  isNonDeterministic: true,
  startTime: 1_795_260_268,
  stopTime: 1_795_260_269,
  cpuUserMicroseconds: 1500,
  cpuSystemMicroseconds: -3,
  builtOutputs: [output("dev"), output("out")]
}

const said = (version: Codec.Version): Nix.BuildResult =>
  Result.getOrThrow(Codec.decode(BuildResult, Codec.encode(BuildResult, result, version), version))

const withoutTimes = { cpuUserMicroseconds: null, cpuSystemMicroseconds: null }
const withoutCounts = { ...withoutTimes, timesBuilt: 0, isNonDeterministic: false, startTime: 0, stopTime: 0 }

describe("the result of a build", () => {
  it("says as much as each version can", () => {
    assert.deepStrictEqual(said(0x0126), result)
    assert.deepStrictEqual(said(0x0125), result)
    assert.deepStrictEqual(said(0x0124), { ...result, ...withoutTimes })
    assert.deepStrictEqual(said(0x011d), { ...result, ...withoutTimes })
    assert.deepStrictEqual(said(0x011c), { ...result, ...withoutCounts })
    assert.deepStrictEqual(said(0x011b), { ...result, ...withoutCounts, builtOutputs: [] })
  })

  it("names its outputs by name alone where that was agreed on", () => {
    const builtOutputs = result.builtOutputs.map((output) => ({ ...output, hash: unknownHash }))

    assert.deepStrictEqual(said(withFeatures), { ...result, builtOutputs })
  })

  it("refuses statuses that newer clients hang up on", () => {
    const bytes = Codec.encode(BuildResult, result, 0x0126)
    for (const status of [15, 16, 255]) {
      bytes[0] = status

      assert.isTrue(Result.isFailure(Codec.decode(BuildResult, bytes, 0x0126)))
    }
  })
})
