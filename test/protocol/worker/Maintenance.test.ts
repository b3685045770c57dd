import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { StorePath } from "../../../src/protocol/nix/StorePath.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import { CollectGarbage } from "../../../src/protocol/worker/Maintenance.ts"
import type { Request } from "../../../src/protocol/worker/Operations.ts"
import { agree, newest, offered } from "../../../src/protocol/worker/Version.ts"

const withFeatures = agree({ version: newest, features: offered }, { version: newest, features: offered })
const versions = [0x010f, newest, withFeatures]

const returned = (request: Request<"CollectGarbage">, version: Codec.Version) =>
  Result.getOrThrow(
    Codec.decode(CollectGarbage.request, Codec.encode(CollectGarbage.request, request, version), version)
  )

const path = StorePath.make("lm84viga06435nymjs592gg36ca852m7-bb")
const common = { ignoreLiveness: false, freedMax: 2n ** 64n - 1n }

describe("deleting certain paths", () => {
  it("is never taken for deleting whatever is dead, not even when there are none", () => {
    for (const version of versions) {
      for (const paths of [[], [path]]) {
        const request = { ...common, action: "deleteSpecific", scope: { paths, deleteReferrers: false } } as const

        assert.deepStrictEqual(returned(request, version), request)
      }
    }
  })
})

describe("looking at the whole store", () => {
  it("names no path in any version", () => {
    for (const version of versions) {
      for (const action of ["returnLive", "returnDead", "deleteDead"] as const) {
        const request = { ...common, action, scope: null }

        assert.deepStrictEqual(returned(request, version), request)
      }
    }
  })
})
