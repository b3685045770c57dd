/**
 * A client of the serve protocol over a real `ssh`, that asks for one build: as light as a client can be, so that many
 * fit on one machine.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import type { BasicDerivation } from "../../src/protocol/nix/Derivation.ts"
import type { BuildResult } from "../../src/protocol/nix/BuildResult.ts"
import type { StorePath } from "../../src/protocol/nix/StorePath.ts"
import * as Command from "../../src/protocol/serve/Command.ts"
import * as Handshake from "../../src/protocol/serve/Handshake.ts"
import * as Codec from "../../src/protocol/wire/Codec.ts"
import * as Source from "../../src/protocol/wire/Source.ts"

export interface Told {
  readonly result: BuildResult
  /** All that came on the channel's stderr: the log, and the service's lines. */
  readonly log: string
}

export interface Asking {
  /** Resolves at the first line like this; never, if none comes. */
  readonly line: (pattern: RegExp) => Promise<void>
  readonly told: Promise<Told>
  readonly leave: () => void
}

const unlimited: Command.BuildOptions = {
  silenceSecondsMax: 0,
  secondsMax: 0,
  logBytesMax: 0n,
  repetitions: 0,
  enforceDeterminism: false,
  keepFailed: false
}

/** `environment`: what SetEnv says, as NAME=VALUE. */
export const ask = (
  sshConfig: string,
  path: StorePath,
  derivation: BasicDerivation,
  environment: ReadonlyArray<string> = []
): Asking => {
  const set = environment.length === 0 ? [] : ["-o", `SetEnv=${environment.join(" ")}`]
  const words = ["-F", sshConfig, ...set, "drover", "nix-store --serve --write"]
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", "ssh", ...words], { stdio: "pipe" })
  child.stdin.on("error", () => {})
  let log = ""
  const watchers = new Set<() => void>()
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text
    for (const watcher of watchers) watcher()
  })
  const gone = new Promise<void>((resolve) => child.on("close", () => resolve()))

  const chunks = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let current = new Uint8Array(0)
  const input: Source.Source = {
    peek: Effect.promise(async () => {
      while (current.length === 0) {
        const next = await chunks.next()
        if (next.done === true) break
        current = new Uint8Array(next.value)
      }
      return current
    }),
    advance: (count) => {
      current = current.subarray(count)
    }
  }
  const write = (bytes: Uint8Array) => Effect.sync(() => void child.stdin.write(bytes))
  const { code, request, response } = Command.commands.BuildDerivation
  const told = Effect.runPromise(
    Effect.gen(function* () {
      const version = yield* Handshake.open(input, write)
      yield* write(Codec.encode(Command.Code, code, version))
      yield* write(Codec.encode(request, { path, derivation, options: unlimited }, version))
      const result = yield* Source.reader(input)(response, version)
      child.stdin.end()
      // What was said before the answer came may still be on its way.
      yield* Effect.promise(() => gone)
      return { result, log }
    })
  )
  const line = (pattern: RegExp) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!log.split("\n").some((each) => pattern.test(each))) return
        watchers.delete(look)
        resolve()
      }
      watchers.add(look)
      look()
    })
  return { line, told, leave: () => void child.kill("SIGTERM") }
}
