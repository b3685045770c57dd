import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { More, Trailer } from "../../../src/protocol/serve/ExportedPath.ts"
import { newest } from "../../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../../src/protocol/wire/Codec.ts"
import * as Laws from "../../support/laws.ts"

describe("the trailer of an exported path", () => {
  Laws.obey(Trailer, { newest, older: [] })
})

describe("whether an export goes on", () => {
  Laws.obey(More, { newest, older: [] })

  it("is said by zero or one alone", () => {
    assert.isTrue(Result.isFailure(Codec.decode(More, Codec.encode(Codec.u64, 2n, 0), newest)))
  })
})
