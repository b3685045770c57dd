/**
 * Templates, made and lent: the state of a machine that has booted and done nothing else, as a file without a name.
 *
 * A template is made in the background, by a machine that nobody's build runs in: its disks are empty, and it stands still
 * for good before it is told a first word. What is kept is what of its memory is not empty, and its devices' state. A
 * copy takes that in as its own memory. So no page is ever shared: whoever takes a machine over, QEMU included, has a
 * descriptor to read by, of a file that its user may not write, and the next copy begins as the first.
 *
 * Nobody waits for a template: who asks while there is none boots.
 *
 * @see docs/decisions/0005-templates.md
 */
import { Duration, Effect, Exit, type Scope } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { promisify } from "node:util"
import { SandboxError } from "../SandboxError.ts"
import { MachineState } from "./MachineState.ts"
import type * as Machines from "./Machines.ts"
import * as Qemu from "./Qemu.ts"
import * as Qmp from "./Qmp.ts"
import * as Templates from "./Templates.ts"

/** Who begins as a copy of the same template: the machines of one account, those of all, or none. */
export type Sharing = "account" | "shared" | "off"

export interface Options {
  readonly sharing: Sharing
  /** Memory of this host that is lent to no build: a template is made in it. */
  readonly keptBackBytes: number
  readonly template: (shape: Machines.Shape) => Effect.Effect<Machines.Template, SandboxError, Scope.Scope>
  /** Succeeds once a machine has booted. */
  readonly awaitBooted: (template: Machines.Template) => Effect.Effect<void, SandboxError>
}

export interface Wanted extends Machines.Shape {
  /** Whose build it is for; null for our own. */
  readonly account: string | null
}

/** A template that a machine begins as a copy of. */
export interface Lent {
  readonly stateFd: number
  /** No machine came of it: it is used no more. */
  readonly refuse: (reason: string) => Effect.Effect<void>
}

/** An open file without a name. */
interface Template {
  readonly fd: number
}

/** Bytes of one template's file. Of a machine of 2 GiB it is 106 MB, and some 12 MB more for each GiB. */
const stateBytesMax = 512 * 2 ** 20

/**
 * What a machine that does nothing but boot takes of the host's memory: 260 MB were seen for 2 GiB, and the kernel's table
 * of a guest's pages is a sixty-fourth of them.
 */
export const makingBytes = (memoryBytes: number) => 320 * 2 ** 20 + memoryBytes / 48

/** A boot, and a second for each few gigabytes of memory. */
const makeWithin = Duration.minutes(2)

/** Of the memory that is kept back, for templates; the rest is the server's and its database's. */
const keptBackShare = 1 / 2

const failed = (detail: string, cause?: unknown) =>
  new SandboxError({ operation: "making a template", detail, ...(cause === undefined ? {} : { cause }) })

const kindOf = (sharing: Sharing, { accelerator, account, cores, guest, memoryBytes }: Wanted) =>
  JSON.stringify([guest.hash, accelerator, cores, memoryBytes, sharing === "account" ? account : null])

export const make = Effect.fnUntraced(function* ({ awaitBooted, keptBackBytes, sharing, template }: Options) {
  const scope = yield* Effect.scope
  let templates: Templates.Templates<Template> = Templates.none
  const change = <C extends Templates.Changed<Template>>(changed: C): C => {
    templates = changed.templates
    for (const { fd } of changed.dropped) fs.closeSync(fd)
    return changed
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const entry of templates.values()) if (entry._tag === "Made") fs.closeSync(entry.template.fd)
      templates = Templates.none
    })
  )

  /** The machine is gone when this ends, however it does. */
  const makeOne = (kind: string, shape: Machines.Shape) =>
    Effect.scoped(
      Effect.gen(function* () {
        const machine = yield* template(shape)
        const receive = yield* listen(path.join(machine.directory, Qemu.copySocket))
        yield* awaitBooted(machine)
        const fd = yield* nameless(path.join(machine.directory, "state"))
        yield* machine.copyTo(`${Qemu.places.run}/${Qemu.copySocket}`)
        const state = new MachineState(Qemu.memoryNames[shape.guest.arch])
        yield* Effect.raceFirst(receive(fd, state), Effect.andThen(hasStopped(machine), Effect.never))
        // One that goes on has not been copied to its end.
        yield* hasStopped(machine)
        return fd
      })
    ).pipe(
      Effect.timeoutOrElse({
        duration: makeWithin,
        orElse: () => Effect.fail(failed(`it takes more than ${Duration.format(makeWithin)}`))
      }),
      Effect.map((fd) => change(Templates.made(templates, kind, { fd }, fs.fstatSync(fd).size))),
      Effect.tap(() => Effect.logInfo("machines of a kind begin as copies from now on", { kind })),
      Effect.catch((error) => {
        change(Templates.failed(templates, kind))
        return Effect.logWarning("a template could not be made; machines boot", { kind, reason: error.message })
      })
    )

  /** A template that there is, open for one machine; null where it has to boot. */
  const take = Effect.fnUntraced(function* (wanted: Wanted): Effect.fn.Return<Lent | null, never, Scope.Scope> {
    const isTooLarge = makingBytes(wanted.memoryBytes) > keptBackBytes * keptBackShare
    if (sharing === "off" || isTooLarge) return null
    const kind = kindOf(sharing, wanted)
    const { answer } = change(Templates.ask(templates, kind))
    if (answer._tag === "Make") yield* Effect.forkIn(makeOne(kind, wanted), scope)
    if (answer._tag !== "Copy") return null
    const { template } = answer
    // A descriptor of its own, by which only to read, and with a place of its own in the file.
    const opened = yield* Effect.acquireRelease(
      Effect.sync(() => openAgain(template.fd)),
      (fd) => Effect.sync(() => fd !== null && fs.closeSync(fd))
    )
    if (opened === null) return null
    const refuse = (reason: string) =>
      Effect.suspend(() => {
        const { dropped } = change(Templates.failed(templates, kind, template))
        return dropped.length === 0
          ? Effect.void
          : Effect.logWarning("no machine came of a template, which is given up; machines boot", { kind, reason })
      })
    return { stateFd: opened, refuse }
  })

  return { take }
})

/** The server's alone to write, and only by this descriptor, which stays if the scope ends well. */
const nameless = (file: string): Effect.Effect<number, SandboxError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => {
        const fd = fs.openSync(file, "wx+", 0o400)
        fs.unlinkSync(file)
        return fd
      },
      catch: (cause) => failed(String(cause), cause)
    }),
    (fd, exit) => Effect.sync(() => Exit.isFailure(exit) && fs.closeSync(fd))
  )

/** A machine stands still once it has been copied; fails if it has come to any other end. */
const hasStopped = (machine: Machines.Template): Effect.Effect<void, SandboxError> =>
  Effect.flatMap(machine.lost, (reason) => (reason.startsWith(Qmp.stopped) ? Effect.void : Effect.fail(failed(reason))))

/** Null where no descriptors are left. */
const openAgain = (fd: number): number | null => {
  try {
    return fs.openSync(`/proc/self/fd/${fd}`, "r")
  } catch {
    return null
  }
}

const write = promisify(fs.write)

/** Without what is empty, and never more than a template may have. Ends when its last write has, however it ends. */
const receiveFrom = async (socket: net.Socket, fd: number, state: MachineState) => {
  let bytesLeft = stateBytesMax
  for await (const chunk of socket) {
    // A socket without an encoding reads buffers.
    const kept = state.push(chunk as Uint8Array)
    bytesLeft -= kept.length
    if (bytesLeft < 0) throw new Error(`expected a state of at most ${stateBytesMax} bytes, found more`)
    for (let at = 0; at < kept.length; at += (await write(fd, kept, at, kept.length - at)).bytesWritten) continue
  }
  if (!state.isWhole) throw new Error("it ended before its time")
}

/** Lets one client in, which is a machine; gives what writes what comes from it into a file. */
const listen = (socketPath: string) =>
  Effect.gen(function* () {
    const connected = Promise.withResolvers<net.Socket>()
    yield* Effect.acquireRelease(
      Effect.callback<net.Server, SandboxError>((resume) => {
        const server = net.createServer({ pauseOnConnect: true })
        server.once("error", (error) => resume(Effect.fail(failed(error.message))))
        server.once("connection", (socket) => {
          server.close()
          // Whoever reads it is told as well; before that, one would end this process.
          socket.on("error", () => {})
          connected.resolve(socket)
        })
        // The machine has a user id of its own.
        server.listen({ path: socketPath, readableAll: true, writableAll: true }, () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
    return (fd: number, state: MachineState) =>
      Effect.callback<void, SandboxError>((resume) => {
        const received = connected.promise.then((socket) => receiveFrom(socket, fd, state))
        const ended = received.then(
          () => resume(Effect.void),
          (cause: unknown) => resume(Effect.fail(failed(cause instanceof Error ? cause.message : String(cause), cause)))
        )
        // The descriptor may be another file's as soon as it is closed: what is being written has to be written by then.
        return Effect.promise(() => {
          connected.reject(new Error("nobody waits for it"))
          void connected.promise.then(
            (socket) => socket.destroy(),
            () => {}
          )
          return ended
        })
      })
  })
