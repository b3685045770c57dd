import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as Hearing from "../../../src/actors/build/Hearing.ts"
import { AttemptId } from "../../../src/domain/Attempt.ts"

/** What a waiter hears of attempts with these logs, each given in pieces; a service line is `<again>`. */
const hear = (logs: ReadonlyArray<ReadonlyArray<string>>) =>
  Hearing.over(Stream.fromIterable(logs.map((_, index) => AttemptId.make(String(index)))), (attempt) =>
    Stream.fromIterable(logs[Number(attempt)]!.map((piece) => new TextEncoder().encode(piece)))
  ).pipe(
    Stream.map((heard) => (heard._tag === "Log" ? new TextDecoder().decode(heard.bytes) : "<again>")),
    Stream.runCollect,
    Effect.map((pieces) => pieces.join(""))
  )

describe("a waiter", () => {
  it.effect("hears a log as it is", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* hear([["one\n", "two\n"]]), "one\ntwo\n")
    })
  )

  it.effect("does not notice a builder that is lost, if the next one says the same", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* hear([["one\ntw"], ["one", "\ntwo\nthree\n"]]), "one\ntwo\nthree\n")
    })
  )

  it.effect("is told so if it says something else, and hears all of that", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* hear([["one 17\n"], ["one 18\n", "two\n"]]), "one 17\n<again>one 18\ntwo\n")
      assert.strictEqual(yield* hear([["one\ntwo\n"], ["one\n"]]), "one\ntwo\n<again>one\n")
    })
  )

  it.effect("hears the end of the third attempt as if it had been the first", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* hear([["a"], ["ab"], ["a", "b", "c"]]), "abc")
    })
  )

  it.effect.prop(
    "hears the last log whole at the end, however all were cut",
    [Schema.Array(Schema.Array(Schema.Literals(["a", "b", "\n"])))],
    ([logs]) =>
      Effect.gen(function* () {
        const last = logs.at(-1)?.join("") ?? ""
        const heard = yield* hear(logs)
        assert.isTrue(heard.endsWith(last))
      })
  )
})
