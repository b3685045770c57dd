import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { type Command, commands, find, type Name, type Response } from "../../../src/protocol/serve/Command.ts"
import { newest, oldest } from "../../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import { unknownHash } from "../../../src/protocol/worker/BuildResult.ts"
import { goldensOf } from "../../support/golden.ts"
import * as Laws from "../../support/laws.ts"

/** Some older ones too, which the layouts tell apart though nobody speaks them. */
const older = [0x0202, 0x0203, 0x0204, oldest, 0x0206, 0x0207]

/** What the newest version says in full, or not. */
const exceptions: { readonly [N in Name]?: Partial<Laws.Options<any>> } = {
  BuildDerivation: {
    fits: ({ builtOutputs }: Response<"BuildDerivation">) =>
      new Set(builtOutputs.map(({ name }) => name)).size === builtOutputs.length,
    newestSays: (result: Response<"BuildDerivation">): Response<"BuildDerivation"> => ({
      ...result,
      cpuUserMicroseconds: null,
      cpuSystemMicroseconds: null,
      builtOutputs: result.builtOutputs.map((output) => ({ ...output, hash: unknownHash }))
    })
  }
}

describe("the table of commands", () => {
  it("finds each by its number, and no other", () => {
    for (const [name, { code }] of Object.entries(commands)) assert.strictEqual(find(code), name)
    for (const code of [0, 5, 10, 2 ** 31]) assert.isUndefined(find(code))
  })

  it("lets a read-only connection do nothing that changes the store", () => {
    const reading = Object.entries(commands)
      .filter(([, { writes }]) => !writes)
      .map(([name]) => name)

    assert.deepStrictEqual(reading, ["QueryValidPaths", "QueryPathInfos", "DumpStorePath", "QueryClosure"])
  })
})

describe("the outcome of BuildPaths", () => {
  it("never says a status that a client takes for success", () => {
    const { response } = commands.BuildPaths
    const outcome: Response<"BuildPaths"> = { status: "PermanentFailure", error: "no" }

    const failed = Codec.encode(response, outcome, newest)

    assert.deepStrictEqual(failed.subarray(0, 8), Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0))
    assert.strictEqual(Codec.encode(response, null, newest).length, 8)
  })
})

for (const [name, command] of Object.entries<Command<any, any>>(commands)) {
  const goldens = goldensOf("serve", name)

  for (const half of ["request", "response"] as const) {
    const codec = command[half]
    // What is empty has no laws.
    if (codec === Codec.nothing) continue

    describe(`the ${half} of ${name}`, () => {
      for (const { agreed, bytes, client, case: where } of half === "request" ? goldens.requests : goldens.responses) {
        it(`is read as ${client} and its server had it in ${where}, and written back unchanged`, () => {
          const value = Result.getOrThrow(Codec.decode(codec, bytes, agreed))
          assert.deepStrictEqual(Codec.encode(codec, value, agreed), bytes)
        })
      }

      Laws.obey<any>(codec, { newest, older, ...(half === "response" ? exceptions[name as Name] : {}) })
    })
  }
}
