/**
 * One virtual machine as a scope: opening it starts QEMU in its jail, closing it kills QEMU and confirms that it is gone.
 *
 * A machine is lost when QEMU ends, when its monitor says that it does nothing any more, when its executor is silent or
 * late, or when somebody else says so. Its channel then breaks, which ends whatever waits for it, and `explain` says why.
 *
 * @see Life.ts for the stages, Qemu.ts for the machine, Jail.ts for what is around it
 */
import { Duration, Effect, Exit, type Scope } from "effect"
import type { ChildProcess } from "node:child_process"
import { Socket } from "node:net"
import { type ExecutorChannel, make as makeChannel } from "../executor/DuplexChannel.ts"
import * as Program from "../Program.ts"
import { SandboxError } from "../SandboxError.ts"
import { descriptors } from "./Qemu.ts"
import type { Accelerator } from "./Qemu.ts"
import { Hearing } from "./Hearing.ts"
import * as Life from "./Life.ts"
import * as Qmp from "./Qmp.ts"

export interface Options {
  /** The launcher, and its words for a jail with QEMU in it. */
  readonly launcher: string
  readonly words: ReadonlyArray<string>
  readonly accelerator: Accelerator
  readonly userNamespaceFd: number
  /** Of the system calls of what runs in the jail, which its words let it read. */
  readonly filter: Uint8Array
  /** The scratch disk; this machine's alone. A template has none. */
  readonly scratchFd: number | "ignore"
  /** What it is a copy of; null if it boots. */
  readonly stateFd: number | null
  /** Ends whatever still runs under the machine's user id, and waits until nothing does. */
  readonly sweep: Effect.Effect<void, SandboxError>
  /** The machine is gone for certain. */
  readonly onGone: Effect.Effect<void>
}

export interface MicroVm {
  readonly channel: ExecutorChannel
  /** The stage that the machine has come to. */
  readonly reach: (stage: Life.Stage) => Effect.Effect<void>
  /** Gives the machine up. */
  readonly lose: (reason: string) => Effect.Effect<void>
  /** Why it was given up; null if it was not. When a channel breaks, the reason may take a moment to arrive. */
  readonly explain: Effect.Effect<string | null>
  /** Copies it to whoever listens at a path of its jail. It has stopped, once it has been copied, and is then lost. */
  readonly copyTo: (path: string) => Effect.Effect<void>
  /** Why it was given up, once it was. */
  readonly lost: Effect.Effect<string>
  /** Everything that happened to the machine until now is known; fails if that was its end. */
  readonly settle: Effect.Effect<void, SandboxError>
}

/** Bytes kept of what QEMU and the guest's kernel say: their last. */
const wordsBytesMax = 4096

/** Killing takes milliseconds. Past this something is wrong with the machine that we run on. */
const goneWithin = Duration.seconds(10)

/** How long the reason for a broken channel is waited for. */
const reasonWithin = Duration.seconds(2)

/** A monitor that is asked answers within a millisecond. */
const settleWithin = Duration.seconds(10)

const turn = Duration.seconds(1)

const operation = "running the virtual machine"

/** The last of what is said, whoever says how much. */
class LastWords {
  #text = ""

  add(text: string): void {
    this.#text = (this.#text + text).slice(-wordsBytesMax)
  }

  /** Printable, since nothing else goes into a log. */
  get text(): string {
    return this.#text.replaceAll(/[^\n\x20-\x7e]/g, "").trim()
  }
}

class Machine {
  readonly channel: Socket
  readonly closed: Promise<void>
  readonly lost: Promise<void>
  reason: string | null = null
  life: Life.Life = Life.start
  #bytesHeard = 0
  readonly #process: ChildProcess
  readonly #monitor: Socket
  readonly #accelerator: Accelerator
  readonly #complaint = new LastWords()
  readonly #kernel = new LastWords()
  readonly #hearings: ReadonlyArray<Hearing>
  readonly #asked: Array<() => void> = []
  readonly #tellLost: () => void

  constructor({ accelerator, filter, launcher, scratchFd, stateFd, userNamespaceFd, words }: Options) {
    const child = Program.start(launcher, words, {
      env: {},
      stdio: [
        ...(["ignore", "pipe", "pipe", userNamespaceFd, scratchFd, "pipe", "pipe", "pipe"] as const),
        ...(stateFd === null ? [] : [stateFd])
      ]
    })
    // Its type knows of five, and not that a pipe is a socket.
    const pipes = Program.pipesOf(child)
    const channel = pipes[descriptors.channel]
    const monitor = pipes[descriptors.monitor]
    const toFilter = pipes[descriptors.filter]
    if (!(channel instanceof Socket) || !(monitor instanceof Socket) || !(toFilter instanceof Socket)) {
      throw new Error("there are no pipes to it")
    }
    toFilter.on("error", () => {}).end(filter)
    this.#process = child
    this.#accelerator = accelerator
    this.channel = channel
    this.#monitor = monitor
    let tellLost = () => {}
    this.lost = new Promise((resolve) => {
      tellLost = resolve
    })
    this.#tellLost = tellLost
    // After its last descriptor is closed, and so after everything that has inherited one is gone.
    this.closed = new Promise((resolve) => {
      child.on("error", (error) => {
        this.lose(`it cannot be started: ${error.message}`)
        resolve()
      })
      child.on("exit", (status, signal) => this.lose(`QEMU has ended with ${signal ?? `status ${status}`}`))
      child.on("close", () => resolve())
    })
    const reader = new Qmp.Reader()
    this.#hearings = [
      new Hearing(child.stdout, "latin1", (text) => this.#kernel.add(text)),
      new Hearing(child.stderr, "latin1", (text) => this.#complaint.add(text)),
      new Hearing(monitor, "utf8", (text) => reader.push(text).forEach((event) => this.#told(event)))
    ]
    this.ask(Qmp.commands.begin, () => {})
  }

  #told(event: Qmp.Event) {
    if (event._tag === "Ended") return this.lose(event.detail)
    const onAnswer = this.#asked.shift()
    if (onAnswer === undefined) this.lose("its monitor answers what nobody asked")
    else onAnswer()
  }

  ask(command: string, onAnswer: () => void) {
    this.#asked.push(onAnswer)
    if (this.#monitor.writable) this.#monitor.write(command)
  }

  lose(reason: string) {
    if (this.reason !== null) return
    this.reason = `${reason}, while ${Life.table[this.life.stage].name}`
    this.#monitor.destroy()
    // What was sent before the end is still worth reading; a silent one has nothing more to say.
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.channel.destroy()
    this.#tellLost()
  }

  /** With what was said last, by whom it was said. */
  get explanation(): string {
    const complaint = this.#complaint.text
    const kernel = this.#kernel.text
    return [
      this.reason ?? "",
      ...(complaint === "" ? [] : [`QEMU: ${complaint}`]),
      ...(kernel === "" ? [] : [`its kernel: ${kernel}`])
    ].join("; ")
  }

  /** What never was is gone for certain. */
  get wasStarted(): boolean {
    return this.#process.pid !== undefined
  }

  /** Whether more can come: then what came is trouble enough. */
  get isConnected(): boolean {
    return !this.channel.destroyed && !this.channel.readableEnded
  }

  step(next: Life.Life | Life.GivenUp) {
    if (next instanceof Life.GivenUp) this.lose(next.reason)
    else this.life = next
  }

  turn() {
    // What waits to be read has been heard: a slow reader is no silence.
    const hasHeard = this.channel.bytesRead !== this.#bytesHeard || this.channel.readableLength > 0
    this.#bytesHeard = this.channel.bytesRead
    for (const hearing of this.#hearings) hearing.turn()
    this.step(Life.turn(this.life, this.#accelerator, hasHeard))
  }

  kill() {
    this.life = { ...Life.start, stage: "Releasing" }
    this.#process.kill("SIGKILL")
    this.channel.destroy()
    for (const hearing of this.#hearings) hearing.end()
  }
}

export const open = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<MicroVm, SandboxError, Scope.Scope> {
  const machine = yield* Effect.acquireRelease(
    Effect.try({
      try: () => new Machine(options),
      catch: (cause) => new SandboxError({ operation, detail: String(cause), cause })
      // Nothing has been started that could still be there.
    }).pipe(Effect.tapError(() => options.onGone)),
    (machine) => end(machine, options)
  )
  const beginning = options.stateFd === null ? "Booting" : "Restoring"
  machine.step(Life.reach({ ...Life.start, stage: "Preparing" }, beginning))
  const turns = Effect.gen(function* () {
    for (;;) {
      yield* Effect.sleep(turn)
      machine.turn()
    }
  })
  yield* Effect.forkScoped(turns)

  const lose = (reason: string) => Effect.sync(() => machine.lose(reason))
  const answer = Effect.callback<void>((resume) => machine.ask(Qmp.commands.status, () => resume(Effect.void)))
  return {
    channel: makeChannel(machine.channel),
    lose,
    lost: Effect.map(
      Effect.promise(() => machine.lost),
      () => machine.reason ?? ""
    ),
    copyTo: (path) => Effect.sync(() => Qmp.commands.copyTo(path).forEach((command) => machine.ask(command, () => {}))),
    reach: (stage) => Effect.sync(() => machine.step(Life.reach(machine.life, stage))),
    explain: Effect.suspend(() => (machine.isConnected ? Effect.void : Effect.promise(() => machine.lost))).pipe(
      Effect.timeoutOrElse({ duration: reasonWithin, orElse: () => Effect.void }),
      Effect.map(() => (machine.reason === null ? null : machine.explanation))
    ),
    settle: Effect.raceFirst(
      answer,
      Effect.promise(() => machine.lost)
    ).pipe(
      Effect.timeoutOrElse({ duration: settleWithin, orElse: () => lose("its monitor does not answer") }),
      Effect.flatMap(() =>
        machine.reason === null
          ? Effect.void
          : Effect.fail(new SandboxError({ operation, detail: machine.explanation }))
      )
    )
  }
})

/** Nothing of a machine is worth a kind word: it is killed, whatever it does. */
const end = Effect.fnUntraced(function* (machine: Machine, { onGone, sweep }: Options) {
  if (!machine.wasStarted) return yield* onGone
  machine.kill()
  yield* Effect.promise(() => machine.closed).pipe(
    Effect.timeoutOrElse({ duration: goneWithin, orElse: () => Effect.void })
  )
  // Its jail's first process closes what it has open a moment before it is gone itself.
  const swept = yield* Effect.exit(sweep)
  if (Exit.isSuccess(swept)) return yield* onGone
  yield* Effect.logError("a virtual machine is not known to be gone; its user id stays taken", swept.cause)
})
