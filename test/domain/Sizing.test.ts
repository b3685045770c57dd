import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type History, type Measured, memoryWindow, more, size, type Wishes } from "../../src/domain/Sizing.ts"

const MiB = 2 ** 20
const GiB = 2 ** 30

const measured = (more: Partial<Measured> = {}): Measured => ({
  outcome: "succeeded",
  cores: 1,
  memoryBytes: 2 * GiB,
  memoryPeakBytes: null,
  memoryHeldBytes: null,
  cpuMicroseconds: null,
  runMilliseconds: null,
  ...more
})
/** On more than it needed. */
const held = (memoryHeldBytes: number, more: Partial<Measured> = {}) =>
  measured({ memoryBytes: 1024 * GiB, memoryHeldBytes, memoryPeakBytes: memoryHeldBytes, ...more })

/** A build of that much alone and that much together, in seconds, as it is measured on so many cores. */
const ran = (alone: number, together: number, cores: number) =>
  measured({
    cores,
    cpuMicroseconds: Math.round((alone + together) * 1e6),
    runMilliseconds: Math.round((alone + together / cores) * 1e3)
  })

const none: History = { identity: [], version: [], name: [] }
const named = (...name: ReadonlyArray<Measured>): History => ({ ...none, name })
const nothing: Wishes = {
  coresMin: null,
  coresMax: null,
  coresDefault: null,
  memoryBytesMin: null,
  memoryBytesMax: null,
  memoryBytesDefault: null
}
const room = { coresMax: 64, memoryBytesMax: 128 * GiB, memoryBytesMin: 32 * GiB }
const defaults = { cores: 1, memoryBytes: 2 * GiB }

const sized = (history: History, wishes: Partial<Wishes> = {}, isParallel = false) =>
  size(history, { isParallel }, { ...nothing, ...wishes }, room, defaults)
const memoryOf = (...name: ReadonlyArray<Measured>) => sized(named(...name)).memoryBytes
const coresOf = (...name: ReadonlyArray<Measured>) => sized(named(...name)).cores

describe("the size of a build", () => {
  it("is the default where nothing is known", () => {
    assert.deepInclude(sized(none), { cores: 1, memoryBytes: 2 * GiB, memoryBytesMax: 128 * GiB, seconds: 0 })
  })

  it("is all cores for one that says it can use them, and the memory that goes with them on any host", () => {
    assert.deepInclude(sized(none, {}, true), { cores: "all", memoryBytes: 32 * GiB })
    assert.deepInclude(sized(none, { coresMax: 8 }, true), { cores: 8, memoryBytes: 2 * GiB })
  })

  it("goes by the nearest history that has anything to say", () => {
    const [near, far] = [held(4 * GiB), held(8 * GiB)]
    const less = sized({ identity: [near], version: [far], name: [far] })
    assert.isBelow(less.memoryBytes, 8 * GiB)
    assert.deepEqual(sized({ identity: [], version: [near], name: [far] }), less)
    assert.deepEqual(sized({ identity: [measured({ outcome: "failed" })], version: [near], name: [far] }), less)
    assert.isAbove(sized(named(far)).memoryBytes, 8 * GiB)
  })
})

describe("the memory of a build", () => {
  it("is what its like held, and some more", () => {
    assert.isAtLeast(memoryOf(held(1.15 * GiB)), 1.25 * 1.15 * GiB)
    assert.isAtMost(memoryOf(held(1.15 * GiB)), 2 * GiB)
  })

  it("is no less than a little", () => {
    assert.strictEqual(memoryOf(held(1 * MiB)), 256 * MiB)
  })

  it("is believed at once to be more, and less only after a while", () => {
    const small = held(GiB)
    const large = held(8 * GiB)
    assert.isAbove(memoryOf(large, small, small, small), 8 * GiB)
    assert.isAbove(memoryOf(small, small, large), 8 * GiB)
    const smaller = Array.from({ length: memoryWindow - 1 }, () => small)
    assert.isAbove(memoryOf(...smaller, large), 8 * GiB)
    assert.isBelow(memoryOf(...smaller, small, large), 2 * GiB)
  })

  it("does not count files that were kept because there was room as needed", () => {
    const full = measured({ memoryPeakBytes: 2 * GiB, memoryHeldBytes: 0.5 * GiB })
    assert.isAtMost(memoryOf(full), 1.25 * GiB)
    assert.isAbove(memoryOf(full), 0.75 * GiB)
  })

  it("does not grow by a peak of which nobody knows what it was", () => {
    assert.strictEqual(memoryOf(measured({ memoryPeakBytes: 2 * GiB })), 2 * GiB)
    assert.strictEqual(memoryOf(measured()), 2 * GiB)
  })

  it("is not more than somewhat beyond what was given, whatever an executor says that it used", () => {
    const said = measured({ memoryHeldBytes: 2 ** 52, memoryPeakBytes: 2 ** 52 })
    assert.isAtMost(memoryOf(said), 3 * GiB)
  })

  it("is never again as little as was too little, whatever was seen", () => {
    const starved = measured({ outcome: "out-of-memory", memoryBytes: GiB })
    assert.isAtLeast(memoryOf(starved), 2 * GiB)
    // What was enough is enough, though of the need only a part was seen.
    assert.strictEqual(memoryOf(held(0.3 * GiB, { memoryBytes: 1.5 * GiB }), starved), 1.5 * GiB)
  })

  it("is not lowered by a build that did not come to its end, but raised", () => {
    assert.strictEqual(memoryOf(held(10 * MiB, { outcome: "failed" })), 2 * GiB)
    assert.strictEqual(memoryOf(measured({ outcome: "out-of-memory", memoryBytes: 64 * MiB })), 2 * GiB)
    assert.isAbove(memoryOf(held(4 * GiB, { outcome: "failed" }), held(GiB)), 4 * GiB)
  })

  it("goes with the cores, since each has something to hold", () => {
    const one = { ...ran(10, 1000, 2), memoryHeldBytes: GiB, memoryPeakBytes: GiB }
    const given = sized(named(one))
    assert.strictEqual(given.cores, 8)
    assert.isAtLeast(given.memoryBytes, 4 * GiB)
  })

  it("is within what its client wishes, and no more than a host has", () => {
    assert.strictEqual(sized(named(held(8 * GiB)), { memoryBytesMax: 4 * GiB }).memoryBytes, 4 * GiB)
    assert.strictEqual(sized(named(held(GiB)), { memoryBytesMin: 4 * GiB }).memoryBytes, 4 * GiB)
    assert.strictEqual(sized(none, { memoryBytesDefault: 512 * MiB }).memoryBytes, 512 * MiB)
    assert.strictEqual(sized(named(held(500 * GiB))).memoryBytes, 128 * GiB)
  })

  it("is asked for in vain beyond what there is, rather than cut down", () => {
    assert.strictEqual(sized(none, { memoryBytesMin: 256 * GiB }).memoryBytes, 256 * GiB)
  })

  it("ends where its client or the largest host ends, and tells which", () => {
    assert.match(sized(none, { memoryBytesMax: 4 * GiB }).ceiling, /DROVER_MAX_MEM/)
    assert.match(sized(none).ceiling, /no host/)
    assert.match(sized(none, { memoryBytesMax: 400 * GiB }).ceiling, /no host/)
  })
})

describe("the cores of a build", () => {
  it("are two for one that kept its one busy for long, to see", () => {
    assert.strictEqual(coresOf(ran(60, 0, 1)), 2)
    assert.strictEqual(coresOf(ran(2, 0, 1)), 1)
    assert.strictEqual(coresOf(measured({ cpuMicroseconds: 10e6, runMilliseconds: 60e3 })), 1)
  })

  it("are one again for one that has no use for two", () => {
    assert.strictEqual(coresOf(ran(60, 0, 1), ran(60, 0, 2), ran(60, 0, 1)), 1)
  })

  it("are as many as make their product with the time and the time again the least", () => {
    const [alone, together] = [20, 260]
    const price = (cores: number) => cores * (alone + together / cores) ** 2
    const best = Array.from({ length: 64 }, (_, index) => index + 1).toSorted((a, b) => price(a) - price(b))[0]
    assert.strictEqual(coresOf(ran(alone, together, 8)), best)
  })

  it("are not taken for idle what some of them were for a part of the time", () => {
    const [alone, together] = [70, 2600]
    let cores = 24
    for (let build = 0; build < 10; build++) {
      const next = coresOf(ran(alone, together, cores))
      assert.isNumber(next)
      cores = Number(next)
    }
    assert.isAbove(cores, 24)
  })

  it.prop(
    "are the same on however many they were measured, but for how far one believes it",
    [
      Schema.Int.check(Schema.isBetween({ minimum: 10, maximum: 100 })),
      Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 2000 })),
      Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 64 }))
    ],
    ([alone, together, cores]) => {
      const exact = together / alone
      const given = Number(coresOf(ran(alone, together, cores)))
      const believed = Math.max(1, Math.min(exact, 4 * cores, room.coresMax))
      assert.isAtLeast(given, Math.floor(believed) - 1)
      assert.isAtMost(given, Math.ceil(believed))
    }
  )

  it("are within what its client wishes, and no more than a host has", () => {
    assert.strictEqual(sized(named(ran(1, 1000, 32)), { coresMax: 4 }).cores, 4)
    assert.strictEqual(sized(named(ran(60, 0, 2)), { coresMin: 3 }).cores, 3)
    assert.strictEqual(sized(none, { coresDefault: 5 }).cores, 5)
    assert.strictEqual(coresOf(ran(1, 10_000, 32)), 64)
  })
})

describe("what follows on too little memory", () => {
  it("is at least as much as the largest of its like needed", () => {
    const history = named(...Array.from({ length: memoryWindow }, () => held(0.3 * GiB)), held(8 * GiB))
    const given = sized(history)
    assert.isBelow(given.memoryBytes, GiB)
    assert.isAbove(more(given.memoryBytes, given) ?? 0, 8 * GiB)
  })

  it.prop(
    "is more each time, until it is all, within few steps",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 40 }))],
    ([memoryBytes]) => {
      let given: number | null = memoryBytes
      for (let steps = 0; given !== null; steps++) {
        const next: number | null = more(given, { memoryBytesNext: 0, memoryBytesMax: 2 ** 40 })
        assert.isBelow(steps, 20)
        if (next === null) assert.strictEqual(given, 2 ** 40)
        else assert.isAtLeast(next, Math.min(2 * given, 2 ** 40))
        given = next
      }
    }
  )
})

describe("a history that can be anything", () => {
  const Bytes = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 40 }))
  const Any = Schema.Struct({
    outcome: Schema.Literals(["succeeded", "failed", "refused", "out-of-memory"]),
    cores: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 64 })),
    memoryBytes: Bytes,
    memoryPeakBytes: Schema.NullOr(Bytes),
    memoryHeldBytes: Schema.NullOr(Bytes),
    cpuMicroseconds: Schema.NullOr(Bytes),
    runMilliseconds: Schema.NullOr(Bytes)
  })

  it.prop(
    "gives a size that a host has and its client allows",
    [
      Schema.Array(Any),
      Schema.NullOr(Bytes),
      Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 64 })))
    ],
    ([name, memoryBytesMax, coresMax]) => {
      const { cores, memoryBytes, ...given } = sized(named(...name), { memoryBytesMax, coresMax })
      assert.isTrue(Number.isInteger(cores) && Number.isInteger(memoryBytes))
      assert.isAtLeast(Number(cores), 1)
      assert.isAtMost(Number(cores), Math.min(coresMax ?? 64, 64))
      assert.isAtLeast(memoryBytes, 1)
      assert.isAtMost(memoryBytes, Math.min(memoryBytesMax ?? Infinity, room.memoryBytesMax))
      assert.isAtLeast(given.seconds, 0)
    }
  )
})
