/** What the `process` backend needs to run here: its programs, and what the starter makes for it. */
import { Effect } from "effect"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Options } from "../../src/sandbox/process/ProcessSandbox.ts"

const root = path.resolve(import.meta.dirname, "../..")

/** Static. The project's own is there once it is set up, whatever the system has. */
const busybox =
  [path.join(root, "build/busybox"), "/usr/bin/busybox", "/bin/busybox"].find((file) => fs.existsSync(file)) ??
  "busybox"

/** A directory of its own that is removed with the scope, along with what builds have left in it. */
export const directory = Effect.acquireRelease(
  Effect.sync(() => {
    const made = fs.mkdtempSync(path.join(os.tmpdir(), "drover-test-"))
    // The server's user has to get to what is in it.
    fs.chmodSync(made, 0o755)
    return made
  }),
  (made) => Effect.sync(() => fs.rmSync(made, { recursive: true, force: true }))
)

/**
 * The C programs as they stand in `executor/` now: those in `build/` if they are, else compiled anew. Either way they
 * lie where every user gets to, which the project may not.
 */
export const programs = Effect.flatMap(directory, (place) =>
  Effect.sync(() => {
    const build = path.join(root, "build")
    const make = (to: string, ...words: ReadonlyArray<string>) =>
      spawnSync("make", ["-s", "-C", path.join(root, "executor"), `OUT=${to}`, ...words], {
        stdio: ["ignore", "inherit", "inherit"]
      }).status
    if (make("../build", "-q") === 0) {
      for (const name of ["executor", "launcher", "starter"]) {
        fs.copyFileSync(path.join(build, name), path.join(place, name))
      }
    } else if (make(place, "ANALYZE=") !== 0) throw new Error("the executor does not compile")
    fs.copyFileSync(busybox, path.join(place, "busybox"))
    fs.chmodSync(path.join(place, "busybox"), 0o755)
    return place
  })
)

/** What the starter has said in the words that it adds to a command. */
export const optionsFrom = (
  words: ReadonlyArray<string>,
  dataDirectory: string,
  programDirectory: string
): Options & {
  readonly userNamespaceFd: number
  readonly subUids: { readonly first: number; readonly count: number }
} => {
  const values = (option: string) => words.flatMap((word, index) => (word === option ? [words[index + 1] ?? ""] : []))
  const [first = 0, count = 0] = (values("--sub-uids")[0] ?? "").split(":").map(Number)
  const cgroups = values("--cgroup").map((word) => {
    const [controller = "", directory = ""] = word.split("=")
    return { controller, directory }
  })
  const userNamespaceFd = Number(values("--user-namespace-fd")[0])
  return { dataDirectory, programDirectory, userNamespaceFd, subUids: { first, count }, cgroups }
}

/**
 * What the starter would tell a server whose data is in the directory, and the process that it would be; it lasts as
 * long as the scope.
 */
export const started = Effect.fnUntraced(function* (programDirectory: string, dataDirectory: string) {
  const command = [`${programDirectory}/busybox`, "sh", "-c", "echo $@; exec cat", "sh"]
  const words = ["--data", dataDirectory, "--program", programDirectory, "--", ...command]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(`${programDirectory}/starter`, words, { stdio: ["pipe", "pipe", "inherit"] })),
    (child) =>
      Effect.promise(
        () =>
          new Promise((resolve) => {
            child.on("close", resolve)
            child.stdin.end()
          })
      )
  )
  const line = yield* Effect.promise(
    () =>
      new Promise<string>((resolve, reject) => {
        child.stdout.once("data", (text: Buffer) => resolve(text.toString()))
        child.once("close", (status) => reject(new Error(`the starter ended with status ${status}`)))
      })
  )
  const options = optionsFrom(line.trim().split(" "), dataDirectory, programDirectory)
  const fd = yield* Effect.acquireRelease(
    Effect.sync(() => fs.openSync(`/proc/${child.pid}/fd/${options.userNamespaceFd}`, "r")),
    (fd) => Effect.sync(() => fs.closeSync(fd))
  )
  // A server makes it itself, being that user; here it is root that runs the server's part.
  const { gid, uid } = fs.statSync(dataDirectory)
  fs.mkdirSync(path.join(dataDirectory, "scratch"), { mode: 0o700 })
  fs.chownSync(path.join(dataDirectory, "scratch"), uid, gid)
  return { ...options, userNamespaceFd: fd, starter: child.pid! }
})

/** The status of every process that runs under one of the ids, by field; those that are dead but for their name not. */
export const running = ({ count, first }: { readonly first: number; readonly count: number }) =>
  fs.readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return []
    try {
      const text = fs.readFileSync(`/proc/${pid}/status`, "utf8")
      const fields = new Map(text.split("\n").map((line) => [line.split(":")[0] ?? "", line.split(/:\s+/)[1] ?? ""]))
      const uid = Number(fields.get("Uid")?.split("\t")[0])
      return uid >= first && uid < first + count && !fields.get("State")?.startsWith("Z") ? [{ pid, uid, fields }] : []
    } catch {
      return []
    }
  })

/** A store path's contents to build with: busybox under all its names. */
export const tools = Effect.map(directory, (place) => {
  const bin = path.join(place, "bin")
  fs.mkdirSync(bin)
  fs.copyFileSync(busybox, path.join(bin, "busybox"))
  fs.chmodSync(path.join(bin, "busybox"), 0o555)
  for (const name of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")) {
    if (name !== "busybox") fs.symlinkSync("busybox", path.join(bin, name))
  }
  return place
})
