import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import { unknownHash } from "../../../src/protocol/worker/BuildResult.ts"
import type { Operation } from "../../../src/protocol/worker/Operation.ts"
import { find, type Name, operations, type Request, type Response } from "../../../src/protocol/worker/Operations.ts"
import { agree, has, newest, oldest } from "../../../src/protocol/worker/Version.ts"
import { goldensOf } from "../../support/golden.ts"
import * as Laws from "../../support/laws.ts"

const withFeatures = (...features: ReadonlyArray<string>) =>
  agree({ version: newest, features }, { version: newest, features })

const all = withFeatures("realisation-with-path-not-hash", "delete-dead-specific-referrers")

/** Every version there is, oldest first, then the newest with some of its features. */
const older = [
  ...Array.from({ length: newest - oldest + 1 }, (_, index) => oldest + index),
  withFeatures("realisation-with-path-not-hash"),
  withFeatures("delete-dead-specific-referrers")
]

const hasFeature = (version: Codec.Version) => has(version, "realisation-with-path-not-hash")

/** What is true of some messages alone. */
const exceptions: { readonly [N in Name]?: { readonly [H in "request" | "response"]?: Partial<Laws.Options<any>> } } = {
  AddToStore: {
    request: {
      fits: ({ address }: Request<"AddToStore">, version) =>
        version >= 0x0119 || address.method === "nar" || address.method === "flat"
    },
    response: { fits: (value, version) => (typeof value === "string") === version < 0x0119 }
  },
  QueryPathInfo: { response: { fits: (value, version) => version >= 0x0111 || value !== null } },
  BuildDerivation: { response: { fits: hasEachOnce, newestSays: withoutHashes } },
  BuildPathsWithResults: {
    request: { fits: fitsTargets },
    response: {
      fits: (results: Response<"BuildPathsWithResults">, version) =>
        fitsTargets({ targets: results.map(({ path }) => path) }, version) &&
        results.every(({ result }) => hasEachOnce(result)),
      newestSays: (results: Response<"BuildPathsWithResults">) =>
        results.map(({ path, result }) => ({ path, result: withoutHashes(result) }))
    }
  },
  BuildPaths: { request: { fits: fitsTargets } },
  QueryMissing: { request: { fits: fitsTargets } },
  CollectGarbage: {
    request: {
      fits: (value: Request<"CollectGarbage">, version) =>
        has(version, "delete-dead-specific-referrers") || isClassic(value)
    }
  },
  RegisterDrvOutput: {
    request: { fits: ({ realisation }, version) => "derivation" in realisation === hasFeature(version) }
  },
  QueryRealisation: {
    request: { fits: (request, version) => "derivation" in request === hasFeature(version) },
    response: {
      fits: (value: Response<"QueryRealisation">, version) =>
        value instanceof Array
          ? !hasFeature(version) && value.every((one) => (typeof one === "string") === version < 0x011f)
          : hasFeature(version)
    }
  }
}

/** A name of an output is there once. */
function hasEachOnce({ builtOutputs }: Response<"BuildDerivation">): boolean {
  return new Set(builtOutputs.map(({ name }) => name)).size === builtOutputs.length
}

/** With the feature, outputs are not named by hashes. */
function withoutHashes(result: Response<"BuildDerivation">): Response<"BuildDerivation"> {
  return { ...result, builtOutputs: result.builtOutputs.map((output) => ({ ...output, hash: unknownHash })) }
}

/** Before 1.30 the path of a derivation itself could not be asked for. */
function fitsTargets({ targets }: Pick<Request<"BuildPaths">, "targets">, version: Codec.Version): boolean {
  return version >= 0x011e || targets.every((target) => target._tag === "Built" || !target.path.endsWith(".drv"))
}

/** What could be said before the feature. */
const isClassic = ({ action, scope }: Request<"CollectGarbage">): boolean =>
  action === "deleteSpecific" ? scope !== null && !scope.deleteReferrers : scope === null

describe("the table of operations", () => {
  it("finds each by its number, and no other", () => {
    const codes = Object.values(operations).map(({ code }) => code)

    assert.strictEqual(new Set(codes).size, codes.length)
    for (const [name, { code }] of Object.entries(operations)) assert.strictEqual(find(code), name)
    for (const code of [0, 2, 4, 5, 15, 16, 17, 24, 25, 27, 48, 1000, 1001]) assert.isUndefined(find(code))
  })
})

for (const [name, operation] of Object.entries<Operation<any, any>>(operations)) {
  const goldens = goldensOf("worker", name)

  for (const half of ["request", "response"] as const) {
    const codec = operation[half]

    // What is empty has no laws.
    if (codec === Codec.nothing) continue

    describe(`the ${half} of ${name}`, () => {
      for (const { agreed, bytes, client, case: where } of half === "request" ? goldens.requests : goldens.responses) {
        it(`is read as ${client} and its server had it in ${where}, and written back unchanged`, () => {
          const value = Result.getOrThrow(Codec.decode(codec, bytes, agreed))
          assert.deepStrictEqual(Codec.encode(codec, value, agreed), bytes)
        })
      }

      Laws.obey<any>(codec, { newest: all, older, ...exceptions[name as Name]?.[half] })
    })
  }
}
