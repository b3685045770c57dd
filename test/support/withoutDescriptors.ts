/**
 * Takes all descriptors that it may have, then starts what sandboxes are made of, and writes what came of each: how it
 * failed, and whether its user id came back. For a process of its own, under `ulimit -n`.
 */
import { Effect, Exit, Layer } from "effect"
import * as fs from "node:fs"
import { BlockServer } from "../../src/sandbox/block/BlockServer.ts"
import { ClosureSource } from "../../src/sandbox/ClosureSource.ts"
import * as MicroVm from "../../src/sandbox/microvm/MicroVm.ts"
import * as Scratch from "../../src/sandbox/microvm/Scratch.ts"
import * as Launcher from "../../src/sandbox/process/Launcher.ts"
import { SubUids } from "../../src/sandbox/process/SubUids.ts"

const taken: Array<number> = []

const exhaust = () => {
  try {
    for (;;) taken.push(fs.openSync("/dev/null", "r"))
  } catch {
    // There are none left.
  }
}

const programs = { launcher: "/bin/true", executor: "/bin/true" }
const closures = Layer.succeed(ClosureSource, { trees: () => Effect.succeed([]), nars: () => Effect.succeed([]) })
const ids = new SubUids(2)
let gone = 0
const onGone = Effect.sync(() => void gone++)

const starts = {
  launcher: Launcher.launch(programs, {
    userNamespaceFd: 0,
    ids,
    first: 1,
    scratch: "/nonexistent",
    inputs: [],
    network: null,
    entrances: []
  }),
  sweep: Launcher.sweep(programs, { first: 1, count: 1 }),
  machine: MicroVm.open({
    launcher: "/bin/true",
    words: [],
    accelerator: "tcg",
    filter: new Uint8Array(0),
    userNamespaceFd: 0,
    scratchFd: 0,
    stateFd: null,
    sweep: Effect.void,
    onGone
  }),
  disks: BlockServer.pipe(
    Effect.provide(
      BlockServer.layer({ command: ["/bin/true"], environment: {}, namespaceFd: null, filter: null }).pipe(
        Layer.provide(closures)
      )
    )
  ),
  // Its own file takes the one that is given back for it.
  scratch: Effect.suspend(() => {
    fs.closeSync(taken.pop() ?? 0)
    return Scratch.make("/bin/true", `${process.argv[2]}/scratch`, 4096)
  })
}

exhaust()
const results: Record<string, string> = {}
for (const [name, effect] of Object.entries(starts)) {
  const exit = await Effect.runPromiseExit(Effect.scoped(effect as Effect.Effect<unknown, Error>))
  // A moment for what is only said later.
  await new Promise((resolve) => setImmediate(resolve))
  const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  results[name] = reason?._tag === "Fail" ? "refused" : reason === undefined ? "made" : `died: ${String(exit)}`
}
taken.splice(0).forEach((fd) => fs.closeSync(fd))
fs.writeSync(1, JSON.stringify({ ...results, gone, given: ids.take() }))
