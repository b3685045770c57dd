/**
 * The scratch disk: a sparse file with an empty ext4 in it, without a name as soon as it is open.
 *
 * Its journal would protect what nobody reads after a crash. Its identifiers are always the same, since by them ext4
 * decides in which order a directory is listed.
 */
import { Effect, type Scope } from "effect"
import type { ChildProcess } from "node:child_process"
import * as fs from "node:fs"
import * as Program from "../Program.ts"
import { SandboxError } from "../SandboxError.ts"

/** What a build may write in all, unless told otherwise: inputs come from elsewhere. What nobody writes takes no room. */
export const scratchBytesDefault = 64 * 2 ** 30

const identifier = "d0d0d0d0-0000-4000-8000-000000000001"

const words = (file: string) => [
  ...["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode"],
  ...["-U", identifier, "-L", "scratch"],
  ...["-E", `lazy_itable_init=1,nodiscard,assume_storage_prezeroed=1,hash_seed=${identifier}`],
  ...["--", file]
]

const operation = "making the scratch disk"

const complaintBytesMax = 1024

/** An open descriptor of a disk of so many bytes, as long as the scope; the file goes at once. */
export const make = Effect.fnUntraced(function* (
  mkfs: string,
  file: string,
  bytes: number
): Effect.fn.Return<number, SandboxError, Scope.Scope> {
  const failed = (cause: unknown) => new SandboxError({ operation, detail: String(cause), cause })
  const fd = yield* Effect.acquireRelease(
    Effect.try({ try: () => fs.openSync(file, "wx+", 0o600), catch: failed }),
    (fd) => Effect.sync(() => fs.closeSync(fd))
  )
  yield* Effect.try({ try: () => fs.ftruncateSync(fd, bytes), catch: failed })
  yield* format(mkfs, file)
  yield* Effect.try({ try: () => fs.unlinkSync(file), catch: failed })
  return fd
})

const format = (mkfs: string, file: string) =>
  Effect.callback<void, SandboxError>((resume) => {
    const failed = (detail: string) => Effect.fail(new SandboxError({ operation, detail }))
    let child: ChildProcess
    try {
      child = Program.start(mkfs, words(file), { env: {}, stdio: ["ignore", "ignore", "pipe"] })
    } catch (error) {
      return resume(failed(String(error)))
    }
    let said = ""
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(0, complaintBytesMax)
    })
    child.on("error", (error) => resume(failed(error.message)))
    child.on("close", (status, signal) =>
      resume(status === 0 ? Effect.void : failed(said.trim() || `mkfs ended with ${signal ?? `status ${status}`}`))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })
