import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as sandbox from "../../support/sandbox.ts"

describe("a build in the process backend", () => {
  layer(sandbox.layer)((it) => {
    it.effect("writes its log and its output", () =>
      Effect.gen(function* () {
        const ended = yield* sandbox.run({ script: "echo building; id; echo hi > $out" })

        assert.deepStrictEqual(ended.exit, { _tag: "Exited", status: 0 })
        assert.strictEqual(ended.log, "building\nuid=1000(nixbld) gid=100(nixbld)\n")
        assert.include((yield* sandbox.nar(ended)).toString("latin1"), "hi\n")
      })
    )
  })
})
