/**
 * Lets a mishap happen to a real machine and tells how it ended: its class, within which time, and that nothing is left
 * of it. After each the next build has to be fine.
 *
 * Everything is the product's own, from the jail to the block server; what stands above, which tries again what was
 * lost and leaves what is too long, is played here.
 */
import { Deferred, Duration, Effect, Exit, Layer, type Scope, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { WireError } from "../../src/protocol/wire/Codec.ts"
import type { Source } from "../../src/protocol/wire/Source.ts"
import * as Guest from "../../src/sandbox/microvm/Guest.ts"
import * as Machines from "../../src/sandbox/microvm/Machines.ts"
import * as MicroVmSandbox from "../../src/sandbox/microvm/MicroVmSandbox.ts"
import type { Architecture } from "../../src/sandbox/microvm/Qemu.ts"
import * as Network from "../../src/sandbox/network/Network.ts"
import { NarVerifier } from "../../src/storage/NarVerifier.ts"
import * as blockServer from "../support/blockServer.ts"
import { familyOf } from "../support/ProcessTable.ts"
import * as processes from "../support/processes.ts"
import * as sandbox from "../support/sandbox.ts"
import { treeOf } from "../support/vm.ts"
import * as Guests from "./Guests.ts"
import { type Case, type Class, mishaps, type Moment, type Strike } from "./Mishap.ts"

const root = path.resolve(import.meta.dirname, "../..")

const architecture: Architecture = process.arch === "arm64" ? "aarch64" : "x86_64"

const scratchBytes = 192 * 2 ** 20

/** Of a disk that is next to full: an empty scratch disk has room on it, and little more. */
const fullDiskBytes = 24 * 2 ** 20

/** What a build may hand over here. */
const outputBytesMax = 2 ** 27

/** Until a machine says its first word, on a host that has much else to do. */
const bootSecondsMax = 60

/** What our own process may grow by, whatever a guest says. */
const growthBytesMax = 192 * 2 ** 20

export interface Ending {
  readonly class: Class
  readonly detail: string
}

export interface Outcome extends Case {
  readonly ending: Ending
  /** From when it happened until nothing was left. */
  readonly seconds: number
  /** What is wrong with it; nothing, if it went as it has to. */
  readonly complaints: ReadonlyArray<string>
}

/** A directory with room for so much. It needs root, as all of this does. */
const smallDirectory = Effect.flatMap(processes.directory, (place) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${fullDiskBytes},mode=0755`, "drover-test", place])
      return place
    }),
    () => Effect.sync(() => execFileSync("umount", ["--lazy", place]))
  )
)

/** Everything that machines need to run here, and their closure; as the product has it but for the store. */
export const hall = Effect.gen(function* () {
  const programs = yield* processes.programs
  const data = yield* processes.directory
  const { subUids, userNamespaceFd } = yield* processes.started(programs, data)
  const store = new blockServer.Store(yield* processes.directory)
  const closure = [{ path: sandbox.toolsPath, narHash: store.add(treeOf(yield* processes.tools)) }]
  const found = yield* Guest.find(path.join(root, "build/guest", architecture))
  if (found === null) return yield* Effect.die(new Error("there is no guest; npm test makes one"))
  const common = {
    programDirectory: programs,
    subUids,
    userNamespaceFd,
    scratchBytes,
    networks: Network.options({ userNamespaceFd }, programs)
  }
  const full = yield* smallDirectory
  const blocks = yield* Layer.build(blockServer.layer(store))
  const onFull = yield* Effect.provide(Machines.make({ ...common, dataDirectory: full }), blocks)
  const machines = yield* Effect.provide(Machines.make({ ...common, dataDirectory: data }), blocks)
  return { closure, data, full, machines, onFull, programs, sound: found, subUids }
})

/** Lets one case happen; one after another. */
export const make = Effect.map(hall, ({ closure, data, full, machines, onFull, programs, sound, subUids }) => {
  const hit = (pids: ReadonlyArray<number>, name: NodeJS.Signals) => {
    for (const pid of pids) process.kill(pid, name)
    return pids.length > 0
  }
  const machinesRunning = () => processes.running(subUids).map(({ pid }) => Number(pid))
  const blockServers = () =>
    familyOf(process.pid)
      .filter(({ command }) => command.includes("blockServer.ts"))
      .map(({ pid }) => pid)

  /** Whether there was anybody to strike at. */
  const strikes: { readonly [S in Strike]: () => boolean } = {
    "kill QEMU": () => hit(machinesRunning(), "SIGKILL"),
    "stop QEMU": () => hit(machinesRunning(), "SIGSTOP"),
    "kill the block server": () => hit(blockServers(), "SIGKILL"),
    leave: () => true
  }

  /** A build to its end, its output read as an import does. `reached` is told of each moment. */
  const build = Effect.fnUntraced(function* (
    { milliseconds, mishap: { nature, onFullDisk, script } }: Pick<Case, "milliseconds" | "mishap">,
    reached: (moment: Moment) => Effect.Effect<void>
  ): Effect.fn.Return<Ending, Error, Scope.Scope | SecureRandom.SecureRandom> {
    const directory = yield* processes.directory
    const busybox = path.join(programs, "busybox")
    const guest = Guests.make(sound, nature, { busybox, directory, milliseconds })
    const inputs = closure.map(({ narHash, path }) => ({ path, narHash, narSize: 1 }))
    const environment = { wait: `${milliseconds * 1000}` }
    const made = sandbox.job({ script, environment, memoryBytes, system: `${architecture}-linux` })
    const job = { ...made, inputs }
    const host = onFullDisk ? onFull : machines
    const vm = yield* host.open({ guest, accelerator: "tcg", cores: job.cores, memoryBytes, inputs, network: false })
    yield* reached("booting")
    const started = yield* MicroVmSandbox.run(vm, job, yield* SecureRandom.SecureRandom)
    let hasSpoken = false
    yield* Stream.runForEach(started.log, () => {
      if (hasSpoken) return Effect.void
      hasSpoken = true
      return reached("running")
    })
    const { exit } = yield* started.ended
    if (exit._tag === "OutOfMemory") return { class: "out-of-memory", detail: "" }
    if (exit._tag === "OutOfScratch") return { class: "out-of-scratch", detail: "" }
    if (exit._tag !== "Exited" || exit.status !== 0) return { class: "exited", detail: JSON.stringify(exit) }
    const source = yield* started.output("out")
    yield* source.peek
    yield* reached("sending")
    yield* verify(source)
    return { class: "exited", detail: "with its output" }
  })

  /** What becomes of the build that it happens to, and when it happened. */
  const happen = Effect.fnUntraced(function* (each: Case) {
    const { milliseconds, mishap, moment } = each
    let at = performance.now()
    const struck = yield* Deferred.make<void>()
    const strike = Effect.gen(function* () {
      yield* Effect.sleep(milliseconds)
      if (mishap.strike === null) return
      at = performance.now()
      // A machine that is just being started may not have its user id yet.
      while (!strikes[mishap.strike]()) yield* Effect.sleep(1)
      yield* Deferred.succeed(struck, undefined)
    })
    const reached = (now: Moment) =>
      Effect.gen(function* () {
        if (now !== moment) return
        at = performance.now()
        // An output that is not read stays where it is.
        if (now === "sending") yield* strike
        else yield* Effect.forkIn(strike, scope)
      })
    const scope = yield* Effect.scope
    const building = Effect.scoped(build(each, reached)).pipe(
      Effect.match({
        onSuccess: (ending) => ending,
        onFailure: (error): Ending => ({
          class: error instanceof WireError ? "refused" : "lost",
          detail: error.message
        })
      })
    )
    const leaving = Effect.as(Deferred.await(struck), left)
    const given = (mishap.within[moment] ?? 0) + milliseconds / 1000 + bootSecondsMax
    const ending = yield* (mishap.strike === "leave" ? Effect.raceFirst(building, leaving) : building).pipe(
      Effect.timeoutOrElse({
        duration: Duration.seconds(given),
        orElse: () => Effect.succeed<Ending>({ class: "left", detail: `nothing had come of it after ${given} s` })
      })
    )
    return { ending, at }
  }, Effect.scoped)

  const remains = () => [
    ...processes.running(subUids).map(({ fields, pid }) => `left the process ${pid}, ${fields.get("Name")}`),
    ...[data, full].flatMap((place) => fs.readdirSync(path.join(place, "vms"))).map((name) => `left vms/${name}`)
  ]

  return Effect.fnUntraced(function* (each: Case) {
    const { mishap, moment } = each
    const before = { descriptors: descriptors(), bytes: process.memoryUsage().rss }

    const { at, ending } = yield* happen(each)
    const complaints = remains()
    const seconds = (performance.now() - at) / 1000
    const growth = process.memoryUsage().rss - before.bytes
    const next = yield* Effect.exit(Effect.scoped(build(fine, () => Effect.void)))
    const opened = descriptors() - before.descriptors
    const within = mishap.within[moment] ?? 0

    if (ending.class !== mishap.ends) complaints.push(`expected the class ${mishap.ends}, found ${ending.class}`)
    if (!mishap.says.test(ending.detail)) complaints.push(`expected it to say ${mishap.says}, found ${ending.detail}`)
    if (seconds > within) complaints.push(`expected its end within ${within} s, found ${seconds.toFixed(1)} s`)
    if (growth > growthBytesMax) complaints.push(`expected at most ${growthBytesMax} bytes more, found ${growth}`)
    if (opened > 0) complaints.push(`left ${opened} descriptors open`)
    if (Exit.isFailure(next)) complaints.push(`the next build: ${String(next.cause)}`)
    else if (next.value.detail !== "with its output") complaints.push(`the next build: ${JSON.stringify(next.value)}`)
    const outcome: Outcome = { ...each, ending, seconds, complaints: [...complaints, ...remains()] }
    return outcome
  }, Effect.provide(SecureRandom.layerWebCrypto))
})

const memoryBytes = 192 * 2 ** 20

const left: Ending = { class: "left", detail: "" }

/** A build that nothing happens to. */
const fine: Pick<Case, "milliseconds" | "mishap"> = {
  milliseconds: 0,
  mishap: { ...mishaps[0]!, script: "echo hi > $out" }
}

const descriptors = () => fs.readdirSync("/proc/self/fd").length

/** Takes an output as the store does, and keeps nothing of it. */
const verify = Effect.fnUntraced(function* <E>(source: Source<E>) {
  const verifier = new NarVerifier({ sizeMax: outputBytesMax })
  while (!verifier.done) {
    const chunk = yield* source.peek
    const used = yield* Effect.try({
      try: () => verifier.push(chunk),
      catch: (thrown) => (thrown instanceof WireError ? thrown : new Error(String(thrown)))
    })
    source.advance(used)
  }
})
