/**
 * The process that serves disks, as the server sees it: started, asked, and ended.
 *
 * Answers about one disk come in the order of the questions. If the process says anything else it is ended: what has
 * been talked into something is not to be listened to.
 */
import { Deferred, Effect, Result, Schema, type Scope } from "effect"
import type { ChildProcess } from "node:child_process"
import { Socket } from "node:net"
import * as Program from "../Program.ts"
import { SandboxError } from "../SandboxError.ts"
import { Answer, type Request } from "./Control.ts"

export interface Launch {
  /** The program and its words. */
  readonly command: ReadonlyArray<string>
  readonly environment: { readonly [name: string]: string }
  /** The descriptor of the wide user namespace, which the program is given as its number 3; null if it needs none. */
  readonly namespaceFd: number | null
  /** What it may ask of the kernel, which it reads from its number 5; null if it reads nothing there. */
  readonly filter: Uint8Array | null
}

/** The number under which the program finds the channel to us. */
export const channelDescriptor = 4

/** And a filter of system calls. */
export const filterDescriptor = 5

/** How values are written on the channel: as they are, bytes included. */
export const serialization = "advanced"

/** Threads that read files: what a disk is asked at once. */
export const threads = 16

/** Bytes kept of what it complains of. */
const complaintBytesMax = 4096

const operation = "serving disks"
const failed = (detail: string) => new SandboxError({ operation, detail })
const decode = Schema.decodeUnknownResult(Answer)

interface Client {
  /** Who waits for an answer, in the order of the questions. */
  readonly waiting: Array<(answer: Effect.Effect<Answer, SandboxError>) => void>
  readonly lost: Deferred.Deferred<never, SandboxError>
}

export interface Disk {
  readonly number: number
  readonly ask: (request: Request) => Effect.Effect<Answer, SandboxError>
  /** Gives its client's connection away. */
  readonly attach: (socket: Socket) => void
  readonly lost: Effect.Effect<never, SandboxError>
}

export class ServerProcess {
  readonly #child: ChildProcess
  readonly #clients = new Map<number, Client>()
  readonly #ready = Deferred.makeUnsafe<void, SandboxError>()
  readonly #closed: Promise<void>
  #next = 1
  #complaint = ""
  #error: SandboxError | null = null

  /** Throws where it cannot even be tried to start it. */
  constructor({ command, environment, filter, namespaceFd }: Launch) {
    const [program = "", ...words] = command
    this.#child = Program.start(program, words, {
      stdio: ["ignore", "ignore", "pipe", namespaceFd ?? "ignore", "ipc", filter === null ? "ignore" : "pipe"],
      env: { ...environment },
      serialization
    })
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#complaint = (this.#complaint + text).slice(-complaintBytesMax)
    })
    const toFilter = Program.pipesOf(this.#child)[filterDescriptor]
    if (filter !== null && toFilter instanceof Socket) toFilter.on("error", () => {}).end(filter)
    this.#child.on("message", (message) => this.#hear(message))
    this.#closed = new Promise((resolve) => {
      this.#child.on("error", (error) => {
        this.#lose(error.message)
        // Then there is no process that could close anything.
        if (this.#child.pid === undefined) resolve()
      })
      this.#child.on("exit", (status, signal) => this.#lose(`its process has ended with ${signal ?? status}`))
      this.#child.on("close", () => {
        this.#lose(`its process has ended: ${this.#complaint}`)
        resolve()
      })
    })
  }

  get isAlive(): boolean {
    return this.#error === null
  }

  /** Resolves once it has started. */
  get ready(): Effect.Effect<void, SandboxError> {
    return Deferred.await(this.#ready)
  }

  /** Kills it, and returns once it is gone. */
  get end(): Effect.Effect<void> {
    return Effect.promise(() => {
      this.#child.kill("SIGKILL")
      return this.#closed
    })
  }

  /** A number for a disk, which is forgotten with the scope. */
  get open(): Effect.Effect<Disk, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => this.#open()),
      ({ number }) =>
        Effect.sync(() => {
          this.#clients.delete(number)
          this.#send({ _tag: "Forget", disk: number })
        })
    )
  }

  #open(): Disk {
    const number = this.#next++
    const client: Client = { waiting: [], lost: Deferred.makeUnsafe() }
    this.#clients.set(number, client)
    if (this.#error !== null) Deferred.doneUnsafe(client.lost, Effect.fail(this.#error))
    const ask = (request: Request) =>
      Effect.callback<Answer, SandboxError>((resume) => {
        if (this.#error !== null) return resume(Effect.fail(this.#error))
        // Who is interrupted meanwhile stays in the line, since its answer comes all the same.
        client.waiting.push(resume)
        this.#send(request)
      })
    const attach = (socket: Socket) => this.#send({ _tag: "Attach", disk: number }, socket)
    return { number, ask, attach, lost: Deferred.await(client.lost) }
  }

  #send(request: Request, socket?: Socket): void {
    if (!this.#child.connected) return
    // An error is of a process that is about to be gone, which is told by its end.
    this.#child.send(request, socket, () => {})
  }

  #hear(message: unknown): void {
    const decoded = decode(message)
    if (Result.isFailure(decoded)) return this.#distrust("something that is no answer")
    const answer = decoded.success
    if (answer._tag === "Ready") {
      Deferred.doneUnsafe(this.#ready, Effect.void)
      return
    }
    const client = this.#clients.get(answer.disk)
    // The disk may just have been closed.
    if (client === undefined) return
    if (answer._tag === "Left") {
      if (answer.reason === null) return
      Deferred.doneUnsafe(client.lost, Effect.fail(failed(`the machine broke the protocol: ${answer.reason}`)))
      return
    }
    const waiting = client.waiting.shift()
    if (waiting === undefined) return this.#distrust("an answer that nobody waits for")
    waiting(Effect.succeed(answer))
  }

  #distrust(found: string): void {
    this.#lose(`expected an answer, found ${found}`)
    this.#child.kill("SIGKILL")
  }

  #lose(reason: string): void {
    if (this.#error !== null) return
    const error = failed(reason)
    this.#error = error
    Deferred.doneUnsafe(this.#ready, Effect.fail(error))
    for (const { lost, waiting } of this.#clients.values()) {
      Deferred.doneUnsafe(lost, Effect.fail(error))
      for (const each of waiting.splice(0)) each(Effect.fail(error))
    }
  }
}
