import { assert, describe, it } from "@effect/vitest"
import * as Version from "../../../src/protocol/worker/Version.ts"

const realisations = "realisation-with-path-not-hash"
const referrers = "delete-dead-specific-referrers"

describe("what two sides agree on", () => {
  it("is the lower version", () => {
    const agreed = Version.agree({ version: 0x0126, features: [] }, { version: 0x0115, features: [] })

    assert.strictEqual(Version.print(agreed), "1.21")
  })

  it("has the features that both named, and no others", () => {
    const agreed = Version.agree(
      { version: 0x0126, features: [realisations, referrers] },
      { version: 0x0126, features: ["submit-output", referrers] }
    )

    assert.strictEqual(Version.print(agreed), `1.38+${referrers}`)
    assert.isFalse(Version.has(agreed, realisations))
  })

  it("has no features before 1.38", () => {
    const agreed = Version.agree(
      { version: 0x0126, features: [realisations] },
      { version: 0x0125, features: [realisations] }
    )

    assert.strictEqual(Version.print(agreed), "1.37")
  })

  it("orders by version, whatever the features", () => {
    const both = { version: 0x0126, features: [realisations, referrers] }

    assert.isAbove(Version.agree(both, both), Version.newest)
  })
})
