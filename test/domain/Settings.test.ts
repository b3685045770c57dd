/** What a connection's environment asks is followed, or its client is told what of it is not. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as Settings from "../../src/domain/Settings.ts"

const read = (environment: Record<string, string>) => Settings.read(new Map(Object.entries(environment)))

describe("settings of a connection", () => {
  it("are the service's own where nothing is said", () => {
    assert.deepStrictEqual(read({ LANG: "C", TRACEPARENT: "00-…" }), { settings: Settings.defaults, complaints: [] })
    assert.isTrue(Settings.defaults.reuseBuildFailures)
    assert.isFalse(Settings.defaults.reuseBuildTimeouts)
    assert.isNull(Settings.defaults.memoryBytesMax)
  })

  it("are followed", () => {
    const { complaints, settings } = read({
      DROVER_REUSE_BUILD_FAILURES: "0",
      DROVER_REUSE_BUILD_TIMEOUTS: "TRUE",
      DROVER_KEEP_BUILDS_RUNNING: "",
      DROVER_MAX_BUILD_RESTARTS: "0",
      DROVER_MAX_CPU: "8",
      DROVER_MIN_MEM: "512M"
    })
    assert.deepStrictEqual(complaints, [])
    assert.deepStrictEqual(settings, {
      ...Settings.defaults,
      reuseBuildFailures: false,
      reuseBuildTimeouts: true,
      buildRestartsMax: 0,
      coresMax: 8,
      memoryBytesMin: 512 * 1024 ** 2
    })
  })

  it.each([
    ["DROVER_REUSE_BUILDS", "of", 'DROVER_REUSE_BUILDS: expected true or false, found "of"; ignored'],
    ["DROVER_MAX_CPU", "0", 'DROVER_MAX_CPU: expected a whole number from 1 to 4096, found "0"; ignored'],
    ["DROVER_MAX_CPU", "4097", 'DROVER_MAX_CPU: expected a whole number from 1 to 4096, found "4097"; ignored'],
    ["DROVER_MIN_MEM", "4096", 'DROVER_MIN_MEM: expected a size such as 512M or 11G, found "4096"; ignored'],
    ["DROVER_TRUSTED_PUBLIC_KEYS", "mine", "DROVER_TRUSTED_PUBLIC_KEYS: no such setting; ignored"]
  ])("%s=%s is left out, and said", (variable, value, complaint) => {
    assert.deepStrictEqual(read({ [variable]: value }), { settings: Settings.defaults, complaints: [complaint] })
  })

  it("tells a long value by its beginning, and control characters by their names", () => {
    const [complaint] = read({ DROVER_MAX_CPU: `\u001b[2J${"x".repeat(8000)}` }).complaints
    assert.match(complaint!, /found "\\u001b\[2Jx{56}…"; ignored$/)
  })

  it("that contradict each other are left out, both", () => {
    const { complaints, settings } = read({ DROVER_MIN_MEM: "2G", DROVER_MAX_MEM: "1G", DROVER_MIN_CPU: "2" })
    assert.deepStrictEqual(complaints, ["DROVER_MIN_MEM is more than DROVER_MAX_MEM; both ignored"])
    assert.deepStrictEqual(settings, { ...Settings.defaults, coresMin: 2 })
  })

  it("are documented as they are", () => {
    assert.include(fs.readFileSync("docs/operating/connect.md", "utf8"), Settings.documentation())
  })
})
