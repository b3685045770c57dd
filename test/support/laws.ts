/**
 * What holds of every codec: laws to be checked with values of its own schema.
 *
 * Sets and maps come back sorted and without repetition, so values are compared in that form. A law
 * of order on the wire is not among these: goldens see to it.
 */
import { assert, it } from "@effect/vitest"
import { Result } from "effect"
import * as Codec from "../../src/protocol/wire/Codec.ts"

export interface Options<A> {
  readonly newest: Codec.Version
  readonly older: ReadonlyArray<Codec.Version>
  /** Whether a version can say this value at all; unless given, each can. */
  readonly fits?: (value: A, version: Codec.Version) => boolean
  /** What becomes of a value that the newest version does not say in full. */
  readonly newestSays?: (value: A) => A
  /** Whether lists are compared as they are, since there are no sets and maps in them. */
  readonly keepsOrder?: boolean
}

/** For what is the same in all versions. */
export const one = { newest: 0, older: [] }

/** Few runs of many laws: they are checked for every message there is. */
const runs = { arbitrary: { runs: 20 } }
/** Each value is broken in many places. */
const fewRuns = { arbitrary: { runs: 6 } }

export const obey = <A>(codec: Codec.Codec<A>, options: Options<A>): void => {
  const { fits = () => true, keepsOrder = false, newest, newestSays = (value) => value, older } = options
  const read = (bytes: Uint8Array, version: Codec.Version) => Codec.decode(codec, bytes, version)

  it.prop(
    "decodes what it encodes",
    [codec.schema],
    ([value]) => {
      if (!fits(value, newest)) return
      const back = Result.getOrThrow(read(Codec.encode(codec, value, newest), newest))
      if (keepsOrder) assert.deepStrictEqual(back, newestSays(value))
      assert.strictEqual(print(canonical(back)), print(canonical(newestSays(value))))
    },
    runs
  )

  it.prop(
    "loses nothing more on a second way, in any version",
    [codec.schema],
    ([value]) => {
      for (const version of [newest, ...older]) {
        if (!fits(value, version)) continue
        const bytes = Codec.encode(codec, value, version)
        const back = Result.getOrThrow(read(bytes, version))
        assert.strictEqual(hex(Codec.encode(codec, back, version)), hex(bytes))
      }
    },
    runs
  )

  it.prop(
    "fails on every proper prefix",
    [codec.schema],
    ([value]) => {
      for (const version of [newest, older[0] ?? newest]) {
        if (!fits(value, version)) continue
        const bytes = Codec.encode(codec, value, version)
        for (const length of words(bytes)) {
          const prefix = read(bytes.subarray(0, length), version)
          assert.isTrue(Result.isFailure(prefix), `accepted ${length} of ${bytes.length}`)
        }
      }
    },
    fewRuns
  )

  it.prop(
    "takes no word for a count that no honest peer sends",
    [codec.schema],
    ([value]) => {
      if (!fits(value, newest)) return
      const bytes = Codec.encode(codec, value, newest)
      for (const offset of words(bytes)) {
        for (const word of [2n ** 64n - 1n, 2n ** 32n]) {
          const hostile = bytes.slice()
          new DataView(hostile.buffer).setBigUint64(offset, word, true)
          // A number may be this large, or a string have these bytes; but then nothing was counted by it.
          const result = read(hostile, newest)
          const isBounded =
            Result.isFailure(result) || Codec.encode(codec, result.success, newest).length <= bytes.length
          assert.isTrue(isBounded, `${word} at ${offset}`)
        }
      }
    },
    fewRuns
  )
}

/** Where words begin: all of them, or of a long message about a hundred. */
const words = (bytes: Uint8Array): ReadonlyArray<number> => {
  const stride = 8 * Math.ceil(bytes.length / 800)
  return Array.from({ length: Math.ceil(bytes.length / stride) }, (_, index) => index * stride)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** Lists sorted and each element once, bytes as hex, the class of a value forgotten. */
const canonical = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return hex(value)
  if (Array.isArray(value)) {
    const byText = new Map(value.map((element) => [print(canonical(element)), canonical(element)]))
    return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, element]) => element)
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return Object.fromEntries(entries.map(([key, field]) => [key, canonical(field)]))
  }
  // The wire has one zero.
  return value === 0 ? 0 : value
}

const print = (value: unknown): string =>
  JSON.stringify(value, (_, field) => (typeof field === "bigint" ? `${field}n` : field))
