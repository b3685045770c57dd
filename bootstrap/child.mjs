/**
 * Starting other programs, and ending with them.
 *
 * `run` is for the set-up's tools: what they print goes to a file, whose end is shown if they fail. `runInPlace` gives
 * a program this one's place at the terminal. `serve` is for the server, which must neither outlive us nor be told
 * twice to end.
 */
import { spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs"
import { constants } from "node:os"
import path from "node:path"
import { build, toolEnvironment } from "./place.mjs"
import { refuse, Refusal } from "./say.mjs"

const signals = ["SIGINT", "SIGTERM", "SIGHUP"]

/** As a shell has it: a program's own status, or 128 and the number of the signal that ended it. */
const statusOf = (code, signal) => code ?? 128 + (constants.signals[signal] ?? 0)

const ended = (child, program) =>
  new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new Refusal(`${program}: ${error.message}`)))
    child.on("close", (code, signal) => resolve(statusOf(code, signal)))
  })

/** While `child` runs, signals go to it, each kind once; which one came is told at the end. */
const passSignals = (child) => {
  const passed = new Set()
  const pass = (signal) => {
    if (passed.has(signal)) return
    passed.add(signal)
    child.kill(signal)
  }
  for (const signal of signals) process.on(signal, pass)
  return {
    passed,
    stop: () => {
      for (const signal of signals) process.off(signal, pass)
    }
  }
}

/** Runs a tool of the set-up to its end. `log` names the file under `build/log` that keeps what it prints. */
export const run = async (argv, { cwd, env, log }) => {
  const file = path.join(build, "log", `${log}.log`)
  mkdirSync(path.dirname(file), { recursive: true })
  const out = openSync(file, "a")
  const child = spawn(argv[0], argv.slice(1), { cwd, env: env ?? toolEnvironment(), stdio: ["ignore", out, out] })
  closeSync(out)
  const forwarding = passSignals(child)
  const status = await ended(child, argv[0])
  forwarding.stop()
  const [signal] = forwarding.passed
  if (signal !== undefined) refuse(`ended by ${signal}`, statusOf(null, signal))
  if (status === 0) return
  const last = readFileSync(file, "utf8").trimEnd().split("\n").slice(-30).join("\n  ")
  refuse(`expected \`${argv.join(" ")}\` to succeed, found status ${status}; its last lines, of ${file}:\n  ${last}`)
}

/** Runs a tool of the set-up, and gives its standard output, or null where it fails. */
export const ask = (argv, { cwd, env } = {}) =>
  new Promise((resolve) => {
    const child = spawn(argv[0], argv.slice(1), {
      cwd,
      env: env ?? toolEnvironment(),
      stdio: ["ignore", "pipe", "ignore"]
    })
    const chunks = []
    child.stdout.on("data", (chunk) => chunks.push(chunk))
    child.on("error", () => resolve(null))
    child.on("close", (code) => resolve(code === 0 ? Buffer.concat(chunks).toString() : null))
  })

/** Runs a program with our own input and output; gives its status. */
export const runInPlace = async (argv, { cwd, env, onLine } = {}) => {
  const child = spawn(argv[0], argv.slice(1), {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["inherit", onLine === undefined ? "inherit" : "pipe", "inherit"]
  })
  if (onLine !== undefined) passLines(child.stdout, onLine)
  // A terminal's Ctrl-C reaches the child by itself: then ours is only to wait for it.
  const forwarding = passSignals(child)
  try {
    return await ended(child, argv[0])
  } finally {
    forwarding.stop()
  }
}

/** Copies a program's output to ours and shows each line to `onLine`. */
const passLines = (stream, onLine) => {
  let rest = ""
  stream.setEncoding("utf8")
  stream.on("data", (text) => {
    process.stdout.write(text)
    const lines = (rest + text).split("\n")
    rest = lines.pop()
    for (const line of lines) onLine(line)
  })
}

/** How often we look whether npm is still there. */
const parentCheckMilliseconds = 250

/**
 * Runs the server to its end; gives its status.
 *
 * It gets a session of its own, so that a terminal's Ctrl-C, which reaches npm, us, and through npm us again, reaches
 * it once and by us alone. Should we be killed, the kernel ends it: its starter asked for that. We cannot ask for the
 * same of npm, so it is watched.
 */
export const serve = async (argv) => {
  const parent = process.ppid
  const child = spawn(argv[0], argv.slice(1), { detached: true, stdio: ["ignore", "inherit", "inherit"] })
  let told = false
  const end = (signal) => {
    if (told) return
    told = true
    child.kill(signal)
  }
  for (const signal of signals) process.on(signal, end)
  const watch =
    process.env.npm_lifecycle_event === undefined
      ? undefined
      : setInterval(() => {
          if (process.ppid !== parent) end("SIGTERM")
        }, parentCheckMilliseconds)
  try {
    return await ended(child, argv[0])
  } finally {
    clearInterval(watch)
  }
}
