/**
 * `npm run mishaps -- [--count N] [--seed N]`: so many mishaps, one after another, each told as it ends. The same seed
 * has the same happen. Ends with status 1 if any of them went otherwise than it has to.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { parseArgs } from "node:util"
import { cases, mishaps } from "./Mishap.ts"
import * as Rehearsal from "./Rehearsal.ts"

const { values } = parseArgs({
  options: { count: { type: "string", default: "100" }, seed: { type: "string", default: "1" } }
})
const [count, seed] = [Number(values.count), Number(values.seed)]
if (!(Number.isSafeInteger(count) && count > 0 && Number.isSafeInteger(seed))) {
  process.stderr.write(`expected numbers for --count and --seed, found ${values.count} and ${values.seed}\n`)
  process.exit(2)
}

const say = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n`))

const tell = ({ complaints, ending, milliseconds, mishap, moment, seconds }: Rehearsal.Outcome, index: number) =>
  say(
    [
      `${complaints.length === 0 ? "ok" : "not ok"} ${index + 1} ${mishap.kind}, while ${moment}, after ${milliseconds} ms:`,
      `${ending.class} within ${seconds.toFixed(1)} s${ending.detail === "" ? "" : ` (${ending.detail.split("\n")[0]?.slice(0, 160)})`}`,
      ...complaints.map((complaint) => `\n   ${complaint}`)
    ].join(" ")
  )

const main = Effect.scoped(
  Effect.gen(function* () {
    const rehearse = yield* Rehearsal.make
    const outcomes = yield* Effect.forEach(cases(seed, count), (each, index) =>
      Effect.tap(rehearse(each), (outcome) => tell(outcome, index))
    )
    for (const { kind } of mishaps) {
      const those = outcomes.filter(({ mishap }) => mishap.kind === kind)
      if (those.length === 0) continue
      const slowest = Math.max(...those.map(({ seconds }) => seconds))
      yield* say(`${kind}: ${those.length}, the slowest over within ${slowest.toFixed(1)} s`)
    }
    const bad = outcomes.filter(({ complaints }) => complaints.length > 0).length
    yield* say(`seed ${seed}: ${outcomes.length - bad} as they have to be, ${bad} not`)
    return bad
  })
)

NodeRuntime.runMain(
  Effect.tap(main, (bad) => Effect.sync(() => void (process.exitCode = bad === 0 ? 0 : 1))),
  { teardown: (exit, onExit) => onExit(exit._tag === "Failure" ? 1 : Number(process.exitCode ?? 0)) }
)
