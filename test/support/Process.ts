/**
 * Other programs, as a test or a measurement runs them: read line by line, and ended with whoever started them.
 *
 * Each has a process group of its own, so that a signal can be sent to it alone or to all that it started, and none
 * outlives this process, however that ends.
 */
import { type ChildProcess, spawn } from "node:child_process"

export interface Line {
  readonly from: "out" | "err"
  readonly text: string
}

export interface Ended {
  /** Null if a signal ended it. */
  readonly status: number | null
  readonly signal: string | null
  readonly out: string
  readonly err: string
}

export interface Process {
  readonly pid: number
  readonly stdin: NonNullable<ChildProcess["stdin"]>
  /** Those so far, of both streams, as they came. */
  readonly lines: ReadonlyArray<Line>
  /** It has ended, and all that it had to say has been read. */
  readonly ended: Promise<Ended>
  /** The first line that matches; fails once no such line can come any more. */
  readonly line: (pattern: RegExp) => Promise<Line>
  /** To its group, or to it alone; to nobody once it has ended. */
  readonly signal: (signal: NodeJS.Signals, to?: "group" | "alone") => void
}

export interface Options {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly signal?: AbortSignal | undefined
}

/** What a failed command says of itself: the end of its output. */
export class CommandFailed extends Error {
  constructor(argv: ReadonlyArray<string>, { err, out, signal, status }: Ended) {
    const said = `${out}\n${err}`.trim().split("\n").slice(-20).join("\n  ")
    super(`expected \`${argv.join(" ")}\` to succeed, found ${signal ?? `status ${status}`}:\n  ${said}`)
  }
}

export const start = (argv: ReadonlyArray<string>, { cwd, env, signal: given }: Options = {}): Process => {
  given?.throwIfAborted()
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", ...argv], {
    ...(cwd === undefined ? {} : { cwd }),
    env: env ?? process.env,
    detached: true,
    stdio: "pipe"
  })
  const text = { out: "", err: "" }
  const partial = { out: "", err: "" }
  const lines: Array<Line> = []
  const watchers = new Set<() => void>()
  const keep = (line: Line) => {
    lines.push(line)
    for (const watcher of watchers) watcher()
  }
  const read = (from: Line["from"], stream: NodeJS.ReadableStream) => {
    stream.setEncoding("utf8")
    stream.on("data", (chunk: string) => {
      text[from] += chunk
      const parts = (partial[from] + chunk).split("\n")
      partial[from] = parts.pop() ?? ""
      for (const part of parts) keep({ from, text: part })
    })
    stream.on("end", () => {
      if (partial[from] !== "") keep({ from, text: partial[from] })
    })
  }
  read("out", child.stdout)
  read("err", child.stderr)
  // A program may end without having read what it was given.
  child.stdin.on("error", () => {})

  let closed = false
  let gone = false
  const signal = (signal: NodeJS.Signals, to: "group" | "alone" = "group") => {
    if (child.pid === undefined || (to === "alone" && gone)) return
    try {
      process.kill(to === "group" ? -child.pid : child.pid, signal)
    } catch {
      // The whole group has ended.
    }
  }
  const abort = () => signal("SIGKILL")
  given?.addEventListener("abort", abort, { once: true })
  child.on("exit", () => {
    gone = true
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (status, signal) => {
      closed = true
      given?.removeEventListener("abort", abort)
      resolve({ status, signal, ...text })
      for (const watcher of watchers) watcher()
    })
  })
  const line = (pattern: RegExp) =>
    new Promise<Line>((resolve, reject) => {
      const look = () => {
        const found = lines.find(({ text }) => pattern.test(text))
        if (found === undefined && !closed) return
        watchers.delete(look)
        if (found !== undefined) resolve(found)
        else reject(new Error(`expected a line like ${pattern}, found the end:\n${text.out}\n${text.err}`))
      }
      watchers.add(look)
      look()
    })
  // Only a program that could not be started at all has no id, and then `ended` fails.
  return { pid: child.pid ?? 0, stdin: child.stdin, lines, ended, line, signal }
}

/** Runs a command to its end, with nothing to read. */
export const run = (argv: ReadonlyArray<string>, options?: Options): Promise<Ended> => {
  const process = start(argv, options)
  process.stdin.end()
  return process.ended
}

/** As `run`, of what must succeed; gives its standard output. */
export const must = async (argv: ReadonlyArray<string>, options?: Options): Promise<string> => {
  const ended = await run(argv, options)
  if (ended.status !== 0) throw new CommandFailed(argv, ended)
  return ended.out.trim()
}
