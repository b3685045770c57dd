/** Runs shell scripts as builders in the `process` backend, and tells how they ended and what they made. */
import { Context, Effect, Layer, type Scope, Stream } from "effect"
import { AttemptId } from "../../src/domain/Attempt.ts"
import type { Output } from "../../src/protocol/nix/Derivation.ts"
import { Sha256 } from "../../src/protocol/nix/Hash.ts"
import { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import * as Store from "../../src/protocol/nix/StorePath.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { ClosureSource } from "../../src/sandbox/ClosureSource.ts"
import * as Job from "../../src/sandbox/Job.ts"
import * as ProcessSandbox from "../../src/sandbox/process/ProcessSandbox.ts"
import { type Ended, type Running, Sandbox } from "../../src/sandbox/Sandbox.ts"
import * as processes from "./processes.ts"

export const toolsPath = StorePath.make(`${"b".repeat(32)}-tools`)
const toolsHash = Sha256.make("a".repeat(64))

/** Where the backend under test keeps what it keeps. */
export class Place extends Context.Service<Place, ProcessSandbox.Options>()("drover/test/Place") {}

/** What a test may need to say more of a backend. */
export interface Prepared {
  /** Directories of the executor and its like, and of what builds find at `toolsPath`. */
  readonly programs: string
  readonly tools: string
  /** A process in the namespaces that the server would be in. */
  readonly starter: number
}

/** The backend with everything beneath it, and what `more` says of it. */
export const layerWith = (
  more: (prepared: Prepared) => Effect.Effect<Partial<ProcessSandbox.Options>, never, Scope.Scope>
) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const programs = yield* processes.programs
      const data = yield* processes.directory
      const tools = yield* processes.tools
      const started = yield* processes.started(programs, data)
      const options = { ...started, ...(yield* more({ programs, tools, starter: started.starter })) }
      const closures = Layer.succeed(ClosureSource, {
        trees: (hashes) => Effect.succeed(hashes.map(() => tools)),
        nars: () => Effect.succeed([])
      })
      const context = yield* Layer.build(ProcessSandbox.layer(options).pipe(Layer.provide(closures)))
      return Context.add(context, Place, options)
    })
  )

export const layer = layerWith(() => Effect.succeed({}))

export interface Script {
  readonly script: string
  readonly outputs?: ReadonlyArray<string>
  readonly environment?: { readonly [name: string]: string }
  readonly system?: string
  readonly builder?: string
  readonly form?: Output
  readonly memoryBytes?: number
  readonly processesMax?: number
}

let attempts = 0

export const outputPath = (name: string) => StorePath.make(`${"c".repeat(32)}-test${name === "out" ? "" : `-${name}`}`)

export const job = (script: Script): Job.Job => {
  const outputs = (script.outputs ?? ["out"]).map((name) => ({ name, path: outputPath(name) }))
  const environment = {
    PATH: `${Store.print(toolsPath)}/bin`,
    ...Object.fromEntries(outputs.map(({ name, path }) => [name, Store.print(path)])),
    ...script.environment
  }
  const made = Job.make({
    attempt: AttemptId.make(`attempt.${process.pid}.${attempts++}`),
    derivationPath: StorePath.make(`${"d".repeat(32)}-test.drv`),
    derivation: {
      outputs: outputs.map(({ name, path }) => [name, script.form ?? { _tag: "InputAddressed", path }]),
      inputSources: [toolsPath],
      system: script.system ?? "x86_64-linux",
      builder: Buffer.from(script.builder ?? `${Store.print(toolsPath)}/bin/sh`),
      arguments: ["-e", "-c", script.script].map((word) => Buffer.from(word)),
      environment: Object.entries(environment).map(([name, value]) => [Buffer.from(name), Buffer.from(value)])
    },
    outputs,
    closure: [
      new PathInfo({
        path: toolsPath,
        deriver: null,
        narHash: toolsHash,
        narSize: 1,
        references: [],
        registrationTime: 0,
        ultimate: false,
        signatures: [],
        contentAddress: ""
      })
    ],
    cores: 1,
    memoryBytes: script.memoryBytes ?? 256 * 1024 * 1024
  })
  if (made instanceof Job.JobRefused) throw made
  return { ...made, processesMax: script.processesMax ?? made.processesMax }
}

export interface Finished extends Ended {
  readonly log: string
  readonly running: Running
}

/** The whole of a run but its outputs, which can be read while the scope is open. */
export const run = Effect.fnUntraced(function* (
  script: Script
): Effect.fn.Return<Finished, Error, Sandbox | Scope.Scope> {
  const sandbox = yield* Sandbox
  const running = yield* sandbox.start(job(script))
  const chunks = yield* Stream.runCollect(running.log)
  const ended = yield* running.ended
  return { ...ended, log: Buffer.concat([...chunks]).toString(), running }
})

/** The NAR of an output. */
export const narOf = Effect.fnUntraced(function* (running: Running, name = "out") {
  const source = yield* running.output(name)
  const chunks: Array<Uint8Array> = []
  for (;;) {
    const chunk = yield* source.peek
    if (chunk.length === 0) return Buffer.concat(chunks)
    chunks.push(chunk.slice())
    source.advance(chunk.length)
  }
})

export const nar = ({ running }: Finished, name = "out") => narOf(running, name)
