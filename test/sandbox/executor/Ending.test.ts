import { assert, describe, it } from "@effect/vitest"
import { exitOf } from "../../../src/sandbox/executor/Ending.ts"
import type { Exited } from "../../../src/sandbox/executor/Frame.ts"

const seen = (kind: Exited["kind"], value: number, more: Partial<Exited> = {}): Exited => ({
  _tag: "Exited",
  kind,
  value,
  cpuUserMicroseconds: 0,
  cpuSystemMicroseconds: 0,
  residentBytesMax: 0,
  scratchBytesFree: 2 ** 40,
  scratchInodesFree: 1000,
  memoryPeakBytes: null,
  oomKills: null,
  present: [],
  ...more
})

const nothing = { oomKills: 0, machineKilled: false }
const uncounted = { oomKills: null, machineKilled: true }

describe("an end of a builder", () => {
  it("is its status or its signal", () => {
    assert.deepStrictEqual(exitOf(seen("Exited", 3), nothing), { _tag: "Exited", status: 3 })
    assert.deepStrictEqual(exitOf(seen("Signalled", 11), nothing), { _tag: "Signalled", signal: 11 })
  })

  it("is none of its own where it was killed, unless it had closed its log", () => {
    assert.deepStrictEqual(exitOf(seen("Signalled", 9), nothing), { _tag: "Killed" })
    assert.deepStrictEqual(exitOf(seen("LogClosed", 9), nothing), { _tag: "Signalled", signal: 9 })
    assert.deepStrictEqual(exitOf(seen("LogClosed", 9), uncounted), { _tag: "Signalled", signal: 9 })
  })

  it("is a success where the builder says so, whatever became of its children", () => {
    const full = seen("Exited", 0, { scratchBytesFree: 0 })
    assert.deepStrictEqual(exitOf(full, { oomKills: 2, machineKilled: true }), { _tag: "Exited", status: 0 })
  })

  it("is for lack of memory where a process was killed at the limit", () => {
    assert.deepStrictEqual(exitOf(seen("Exited", 1), { ...nothing, oomKills: 1 }), {
      _tag: "OutOfMemory",
      certain: true
    })
  })

  it("is only suspected of a lack of memory where nobody counts", () => {
    assert.deepStrictEqual(exitOf(seen("Signalled", 9), uncounted), { _tag: "OutOfMemory", certain: false })
    assert.deepStrictEqual(exitOf(seen("Exited", 137), uncounted), { _tag: "OutOfMemory", certain: false })
    assert.deepStrictEqual(exitOf(seen("Exited", 1), uncounted), { _tag: "Exited", status: 1 })
    const others = { oomKills: 0, machineKilled: true }
    assert.deepStrictEqual(exitOf(seen("Signalled", 9), others), { _tag: "Killed" })
  })

  it("is for lack of scratch where no space or no file is left", () => {
    assert.deepStrictEqual(exitOf(seen("Exited", 1, { scratchBytesFree: 4096 }), nothing), { _tag: "OutOfScratch" })
    assert.deepStrictEqual(exitOf(seen("Exited", 1, { scratchInodesFree: 0 }), nothing), { _tag: "OutOfScratch" })
  })
})
