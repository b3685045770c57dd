/**
 * The server that had the data directory before: it is gone for certain before the next one does anything there.
 *
 * Whoever has the claim on the database is the one server of its data. One that lost the claim may still be there: it was
 * stopped, or could not be heard of, for so long that another was started. When it goes on it finds its sandboxes gone
 * and sweeps what is left under their user ids and names, which by then are those of the next one's. So it is killed, as
 * anything here may be at any moment; it has nothing left to say.
 */
import { Effect, Layer, Schedule, Schema } from "effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { file, fileError, type StorageError } from "./StorageError.ts"

/** A process as it is told from all others: its number alone is given out again, on this boot and the next. */
const Process = Schema.Struct({
  pid: Schema.Int,
  /** In ticks since the boot. */
  startedAt: Schema.String,
  boot: Schema.String,
  /** Numbers of processes mean something within it. */
  namespace: Schema.String
})
type Process = typeof Process.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Process))

const operation = "taking over the data directory"

/** A process that is killed is gone once the kernel has ended its calls: to a disk that hangs, that may take long. */
const goneSecondsMax = 30

/** The process of this number; null if there is none, or nothing of it but its number. */
const find = async (pid: number): Promise<Process | null> => {
  const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")
  // Its name, which is in parentheses, may be anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const [state = ""] = fields
  const startedAt = fields[19]
  if (startedAt === undefined || "ZX".includes(state)) return null
  const boot = (await fs.readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim()
  return { pid, startedAt, boot, namespace: await fs.readlink("/proc/self/ns/pid") }
}

const isSame = (one: Process, other: Process | null): boolean =>
  one.pid === other?.pid &&
  one.startedAt === other.startedAt &&
  one.boot === other.boot &&
  one.namespace === other.namespace

/** Ends it, whatever it is at. */
const kill = Effect.fnUntraced(function* (predecessor: Process, name: string): Effect.fn.Return<void, StorageError> {
  yield* Effect.logWarning("the last server still runs, and is ended", { pid: predecessor.pid })
  yield* file(operation, name, async () => void process.kill(predecessor.pid, "SIGKILL"))
  yield* file(operation, name, () => find(predecessor.pid)).pipe(
    Effect.repeat({ until: (found) => !isSame(predecessor, found), schedule: Schedule.spaced("10 millis") }),
    Effect.timeoutOrElse({
      duration: `${goneSecondsMax} seconds`,
      orElse: () =>
        Effect.fail(fileError(operation, name, new Error(`the last server, ${predecessor.pid}, does not end`)))
    })
  )
})

/** To be had by whoever has the claim, before anything else. */
export const layer = (dataDirectory: string): Layer.Layer<never, StorageError> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const name = path.join(dataDirectory, "server")
      const text = yield* file(operation, name, () => fs.readFile(name, "utf8")).pipe(
        // There was none, or it is not known: then there is only the database to tell it.
        Effect.catchTag("StorageError", () => Effect.succeed(""))
      )
      const before = decode(text)
      if (before._tag === "Some" && before.value.pid !== process.pid) {
        const found = yield* file(operation, name, () => find(before.value.pid))
        if (isSame(before.value, found)) yield* kill(before.value, name)
      }
      const self = yield* file(operation, name, () => find(process.pid))
      yield* file(operation, name, async () => {
        await fs.writeFile(`${name}.new`, JSON.stringify(self), { mode: 0o600 })
        await fs.rename(`${name}.new`, name)
      })
    }).pipe(Effect.withSpan("Predecessor.end"))
  )
