/**
 * Builds one script in the `process` backend as whoever the starter makes us, and prints how it went as JSON:
 *
 *     build/starter --data DIR --program . -- node test/support/drive.ts TOOLS SCRIPT
 *
 * `TOOLS` is a directory with `bin/sh` in it. What the starter adds to the command tells the rest; the data directory
 * is where we are told to be by the environment of a test, `DROVER_TEST_DATA`.
 */
import { Effect, Layer, Stream } from "effect"
import { ClosureSource } from "../../src/sandbox/ClosureSource.ts"
import * as ProcessSandbox from "../../src/sandbox/process/ProcessSandbox.ts"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"
import { optionsFrom } from "./processes.ts"
import * as sandbox from "./sandbox.ts"

const [tools = "", script = "", ...words] = process.argv.slice(2)
const options = optionsFrom(
  words,
  process.env["DROVER_TEST_DATA"] ?? "",
  process.env["DROVER_TEST_PROGRAMS"] ?? "build"
)
const closures = Layer.succeed(ClosureSource, {
  trees: (hashes) => Effect.succeed(hashes.map(() => tools)),
  nars: () => Effect.succeed([])
})

const drive = Effect.gen(function* () {
  const { start } = yield* Sandbox
  const running = yield* start(sandbox.job({ script }))
  const log = yield* Stream.runCollect(running.log)
  const { exit, outputs } = yield* running.ended
  const nar = outputs.includes("out") ? (yield* sandbox.narOf(running)).toString("base64") : null
  return { uid: process.getuid?.(), exit, log: Buffer.concat([...log]).toString(), nar }
})

const done = await Effect.runPromise(
  Effect.scoped(Effect.provide(drive, ProcessSandbox.layer(options).pipe(Layer.provide(closures))))
)
process.stdout.write(`${JSON.stringify(done)}\n`)
