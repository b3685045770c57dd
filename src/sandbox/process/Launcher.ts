/**
 * The launcher as a child process: what starts an executor in namespaces of its own, ends it, and clears up.
 *
 * Its last words on stderr are kept for the error that they explain.
 */
import { Duration, Effect, Exit, type Scope } from "effect"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { Duplex, Readable, Writable } from "node:stream"
import { SandboxError } from "../SandboxError.ts"

export interface Programs {
  readonly launcher: string
  readonly executor: string
}

/** A file of ours, and where the builder finds it, from the scratch directory on. */
export interface Input {
  readonly source: string
  readonly target: string
}

export interface Launched {
  readonly channel: Duplex
  /** What the launcher has complained of, once it has ended; empty if of nothing. */
  readonly complaint: Effect.Effect<string>
}

/** Bytes kept of what it says; it says one line. */
const complaintBytesMax = 4096

/** Killing takes milliseconds. Past this something is wrong with the machine, and the ids stay taken. */
const endWithin = Duration.seconds(30)

/** How long the reason for an end is waited for. */
const complainWithin = Duration.seconds(2)

const failed = (operation: string, detail: string) => new SandboxError({ operation, detail })

export interface Child {
  readonly process: ChildProcess
  readonly complaint: () => string
  /** Resolves with null once it has ended well, else with why not. */
  readonly ended: Promise<string | null>
}

export const start = (
  program: string,
  words: ReadonlyArray<string>,
  stdio: ReadonlyArray<"pipe" | "ignore" | number>
): Child => {
  const child = spawn(program, words, { stdio: [...stdio], env: {}, cwd: "/" })
  let said = ""
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(0, complaintBytesMax)
  })
  const complaint = () => said.trim()
  const ended = new Promise<string | null>((resolve) => {
    child.on("error", (error) => resolve(error.message))
    child.on("close", (status, signal) => {
      if (status === 0) resolve(null)
      else resolve(complaint() === "" ? `ended with ${signal ?? `status ${status}`}` : complaint())
    })
  })
  return { process: child, complaint, ended }
}

/** Runs the launcher to its end. */
const run = (
  operation: string,
  program: string,
  words: ReadonlyArray<string>,
  stdio: ReadonlyArray<"pipe" | "ignore" | number>
) =>
  Effect.promise(() => start(program, words, stdio).ended).pipe(
    Effect.flatMap((trouble) => (trouble === null ? Effect.void : Effect.fail(failed(operation, trouble))))
  )

/** Where the launcher finds the descriptor of the wide user namespace. */
const namespaceDescriptor = 4

/**
 * An executor under the two ids, whose channel is open as long as the scope. Closing the scope kills it and all that it
 * started, and returns once they are gone and the scratch directory is removed; `onGone` is then run.
 */
export const launch = Effect.fnUntraced(function* (
  programs: Programs,
  options: {
    readonly userNamespaceFd: number
    readonly subUids: { readonly first: number; readonly count: number }
    readonly scratch: string
    readonly ids: { readonly executor: number; readonly builder: number }
    readonly inputs: ReadonlyArray<Input>
    /** A process whose network the build shares; null for none. */
    readonly network: number | null
    readonly entrances: ReadonlyArray<string>
    readonly onGone: Effect.Effect<void>
  }
): Effect.fn.Return<Launched, SandboxError, Scope.Scope> {
  const { ids, scratch, subUids, userNamespaceFd } = options
  const outside = { first: subUids.first + Math.min(ids.executor, ids.builder) - 1, count: 2 }
  const recover = Effect.andThen(sweep(programs, outside), remove(programs, userNamespaceFd, [scratch]))
  const words = [
    "run",
    `${namespaceDescriptor}`,
    scratch,
    `${ids.executor}`,
    `${ids.builder}`,
    programs.executor,
    `${options.network ?? "none"}`,
    ...options.entrances
  ]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => start(programs.launcher, words, ["pipe", "ignore", "pipe", "pipe", userNamespaceFd])),
    (child) => end(child, recover, options.onGone)
  )
  const [stdin, , , channel] = child.process.stdio
  if (!(stdin instanceof Writable) || !(channel instanceof Duplex)) {
    return yield* failed("starting the launcher", yield* Effect.promise(() => child.ended).pipe(Effect.map(String)))
  }
  // It may end before it has read them, and then has said why.
  stdin.on("error", () => {})
  Readable.from(options.inputs.map(({ source, target }) => `${source}\0${target}\0`)).pipe(stdin)
  const complaint = Effect.promise(() => child.ended).pipe(
    Effect.timeoutOrElse({ duration: complainWithin, orElse: () => Effect.void }),
    Effect.map(child.complaint)
  )
  return { channel, complaint }
})

/** Ends the child, or what it has left if it cannot be asked any more. */
export const end = Effect.fnUntraced(function* (
  child: Child,
  recover: Effect.Effect<void, SandboxError>,
  onGone: Effect.Effect<void>
) {
  child.process.kill("SIGTERM")
  const trouble = yield* Effect.promise(() => child.ended).pipe(
    Effect.timeoutOrElse({ duration: endWithin, orElse: () => Effect.succeed("it does not end") })
  )
  if (trouble !== null) {
    yield* Effect.logWarning("a launcher has not ended well", { trouble })
    const recovered = yield* Effect.exit(recover)
    if (Exit.isFailure(recovered)) {
      return yield* Effect.logError("a sandbox is not known to be gone; its user ids stay taken", recovered.cause)
    }
  }
  yield* onGone
})

/** Removes what is left of attempts that nobody runs any more. */
export const remove = (programs: Programs, userNamespaceFd: number, directories: ReadonlyArray<string>) =>
  directories.length === 0
    ? Effect.void
    : run(
        "removing left-over directories",
        programs.launcher,
        ["remove", "3", ...directories],
        ["ignore", "ignore", "pipe", userNamespaceFd]
      )

/** How fast the counter goes by which an emulated machine has its time, in kilohertz; 0 where that is not known. */
export const counterKilohertz = (programs: Programs): Effect.Effect<number, SandboxError> =>
  Effect.callback((resume) => {
    execFile(programs.launcher, ["ticks"], { env: {}, cwd: "/" }, (error, said) =>
      resume(
        error === null
          ? Effect.succeed(Number.parseInt(said, 10))
          : Effect.fail(failed("measuring the counter of time", error.message))
      )
    )
  })

/** Kills whoever runs under the ids, and waits until they are gone. */
export const sweep = (programs: Programs, ids: { readonly first: number; readonly count: number }) =>
  run(
    "ending left-over processes",
    programs.launcher,
    ["sweep", `${ids.first}`, `${ids.count}`],
    ["ignore", "ignore", "pipe"]
  )
