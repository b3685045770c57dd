/** A few kills of each kind; `npm run kills` is for hundreds, and for those of machines. */
import { assert, it } from "@effect/vitest"
import { isWell, run, words } from "../kills/Kills.ts"

it("whoever is killed, whatever was asked for comes of it, nothing is wrong and nothing is left", async () => {
  const report = await run({ count: 6, seed: 5, clients: 3, sandbox: "process", say: () => {} })

  assert.isTrue(isWell(report), words(report))
  assert.isAbove(report.built, 5)
})
