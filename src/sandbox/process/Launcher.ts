/**
 * The launcher as a child process: what starts an executor in namespaces of its own, ends it, and clears up.
 *
 * Its last words on stderr are kept for the error that they explain.
 */
import { Duration, Effect, Exit, type Scope } from "effect"
import { type ChildProcess, execFile } from "node:child_process"
import { Duplex, Readable, Writable } from "node:stream"
import * as Program from "../Program.ts"
import { SandboxError } from "../SandboxError.ts"
import type { Pair, SubUids } from "./SubUids.ts"

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

const startNow = (
  program: string,
  words: ReadonlyArray<string>,
  stdio: ReadonlyArray<"pipe" | "ignore" | number>
): Child => {
  const child = Program.start(program, words, { stdio: [...stdio], env: {} })
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

/** One that could not be started may also be told of by `ended`. */
export const start = (...asked: Parameters<typeof startNow>): Effect.Effect<Child, SandboxError> =>
  Effect.try({ try: () => startNow(...asked), catch: (cause) => failed("starting the launcher", String(cause)) })

/** Runs the launcher to its end. */
const run = (operation: string, ...asked: Parameters<typeof startNow>) =>
  start(...asked).pipe(
    Effect.flatMap(({ ended }) => Effect.promise(() => ended)),
    Effect.flatMap((trouble) => (trouble === null ? Effect.void : Effect.fail(failed(operation, trouble))))
  )

/** Where the launcher finds the descriptor of the wide user namespace. */
const namespaceDescriptor = 4

/**
 * An executor under two ids, whose channel is open as long as the scope. Closing the scope kills it and all that it
 * started, and gives the ids back once they are gone and the scratch directory is removed.
 */
export const launch = Effect.fnUntraced(function* (
  programs: Programs,
  options: {
    readonly userNamespaceFd: number
    readonly ids: SubUids
    /** What 1 is of them in the namespace of the machine. */
    readonly first: number
    readonly scratch: string
    readonly inputs: ReadonlyArray<Input>
    /** A process whose network the build shares; null for none. */
    readonly network: number | null
    readonly entrances: ReadonlyArray<string>
  }
): Effect.fn.Return<Launched, SandboxError, Scope.Scope> {
  const { entrances, first, ids, network, scratch, userNamespaceFd } = options
  const words = ({ builder, executor }: Pair) => [
    ...["run", `${namespaceDescriptor}`, scratch, `${executor}`, `${builder}`, programs.executor],
    ...[`${network ?? "none"}`, ...entrances]
  ]
  const recover = ({ executor }: Pair) =>
    Effect.andThen(
      sweep(programs, { first: first + executor - 1, count: 2 }),
      remove(programs, userNamespaceFd, [scratch])
    )
  const { child } = yield* underIds(
    ids,
    (pair) => start(programs.launcher, words(pair), ["pipe", "ignore", "pipe", "pipe", userNamespaceFd]),
    recover
  )
  const [stdin, , , channel] = yield* Effect.try({
    try: () => Program.pipesOf(child.process),
    catch: (cause) => failed("starting the launcher", String(cause))
  })
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

/** A child under ids of its own, as long as the scope. They are given back once it, and what it started, is gone. */
export const underIds = (
  ids: SubUids,
  begin: (pair: Pair) => Effect.Effect<Child, SandboxError>,
  recover: (pair: Pair) => Effect.Effect<void, SandboxError>
): Effect.Effect<{ readonly child: Child; readonly pair: Pair }, SandboxError, Scope.Scope> => {
  const give = (pair: Pair) => Effect.sync(() => ids.give(pair))
  return Effect.acquireRelease(
    Effect.suspend(() => {
      const pair = ids.take()
      if (pair instanceof SandboxError) return Effect.fail(pair)
      // Of what was never started there is nothing that would have to go first.
      return Effect.tapError(begin(pair), () => give(pair)).pipe(Effect.map((child) => ({ child, pair })))
    }),
    ({ child, pair }) => end(child, recover(pair), give(pair))
  )
}

/** Ends the child, or what it has left if it cannot be asked any more. One that was never started has left nothing. */
const end = Effect.fnUntraced(function* (
  child: Child,
  recover: Effect.Effect<void, SandboxError>,
  onGone: Effect.Effect<void>
) {
  if (child.process.pid === undefined) return yield* onGone
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
