/**
 * Bugs to plant, one after another, in a copy of the sources: each must be found by the simulation. What it cannot find
 * there it would not find of its own accord either.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

export interface Plant {
  readonly name: string
  readonly file: string
  /** What stands there once, and what is put in its place. */
  readonly from: string
  readonly to: string
}

export const plants: ReadonlyArray<Plant> = [
  {
    // It is lent later to somebody who is long gone, and never comes back.
    name: "lease leaked on cancel",
    file: "src/actors/scheduler/Queue.ts",
    from: "  turn.line = Line.leave(turn.line, waiting)\n  turn.overtaken",
    to: "  turn.overtaken"
  },
  {
    // Who comes second does not count, so the build ends with the first who leaves.
    name: "waiter lost on join",
    file: "src/actors/build/Running.ts",
    from: "        entry.waiters++\n",
    to: "        if (entry.waiters === 0) entry.waiters++\n"
  },
  {
    name: "stale attempt accepted",
    file: "src/actors/build/BuildLifecycle.ts",
    from: "message.lease === state.lease ? cell(state, message) : [state, []]",
    to: "cell(state, message)"
  },
  {
    name: "fairness dropped",
    file: "src/actors/scheduler/Order.ts",
    from: "compare: (a, b) => a.share - b.share || a.served - b.served || a.ordinal - b.ordinal,",
    to: "compare: (a, b) => a.ordinal - b.ordinal,"
  },
  {
    name: "result before verification",
    file: "src/actors/build/BuildLifecycle.ts",
    from: "Exited: ours(({ course, lease }) => [Importing.make({ course, lease }), [ImportOutputs.make({ lease })]]),",
    to: `Exited: ours(({ lease }) => [
      Succeeded.make({}),
      [
        EndAttempt.make({ lease, outcome: "succeeded", detail: "" }),
        AnswerSuccess.make({}),
        ReleaseLease.make({ lease }),
        SayGone.make({})
      ]
    ]),`
  },
  {
    // An account that has asked often enough may ask for nothing more.
    name: "quota slot leaked",
    file: "src/actors/quota/Quotas.ts",
    from: "() => Effect.sync(() => void known[name]--)",
    to: "() => Effect.void"
  },
  {
    name: "quota of running builds exceeded",
    file: "src/actors/quota/QuotaScheduler.ts",
    from: "          if (turnstile.running >= max) return\n",
    to: ""
  },
  {
    // What is held back waits for ever.
    name: "turn lost at the turnstile",
    file: "src/actors/quota/QuotaScheduler.ts",
    from: "turnstile.running--\n          return admit(account, turnstile)",
    to: "turnstile.running--\n          return Effect.void"
  },
  {
    name: "answer told to a session twice",
    file: "src/actors/session/WorkerSession.ts",
    from: "  yield* peer.tell(operation.response, response, version)\n",
    to: "  yield* peer.tell(operation.response, response, version)\n".repeat(2)
  },
  {
    // Then it is asked for again with more than it could ever be given.
    name: "sized by a host that would not be given it",
    file: "src/actors/build/Provision.ts",
    from: "takers.length > 0 ? takers : hosts",
    to: "hosts"
  }
]

const root = path.resolve(import.meta.dirname, "../..")

/** How often the place is there where it is to be planted: once, or it has to be written anew. */
export const places = ({ file, from }: Plant): number =>
  fs.readFileSync(path.join(root, file), "utf8").split(from).length - 1

/** A copy of the sources with the bug in it, gone after use. */
export const within = async <A>(plant: Plant, use: (directory: string) => Promise<A>): Promise<A> => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-plant-"))
  try {
    for (const part of ["src", "test/simulation", "package.json"]) {
      fs.cpSync(path.join(root, part), path.join(directory, part), { recursive: true })
    }
    fs.symlinkSync(path.join(root, "node_modules"), path.join(directory, "node_modules"))
    const file = path.join(directory, plant.file)
    const text = fs.readFileSync(file, "utf8")
    if (places(plant) !== 1)
      throw new Error(`${plant.name}: expected its place once in ${plant.file}, found ${places(plant)}`)
    fs.writeFileSync(
      file,
      text.replace(plant.from, () => plant.to)
    )
    return await use(directory)
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}
