/**
 * Hosts that do as their programs say, or as chance has it: sandboxes that are lost, hosts that die with all on them.
 *
 * What runs where is known here for certain, whatever the service says of it, and judged here: what sandboxes take of
 * a host, and that one identity never runs beside its own remains.
 */
import { Effect } from "effect"
import { BuilderLost, BuildFailed, type Finished } from "../../src/actors/builder/BuilderPool.ts"
import type { HostBuilders } from "../../src/actors/builder/HostBuilders.ts"
import { noUsage } from "../../src/domain/Attempt.ts"
import * as BuildId from "../../src/domain/BuildId.ts"
import { Host, HostId } from "../../src/domain/Host.ts"
import type { Chance } from "./Chance.ts"
import { line, type Program } from "./Programs.ts"
import type { Life } from "./Universe.ts"

const GiB = 2 ** 30

const systems = ["x86_64-linux", "aarch64-linux"] as const

/** What a host may have beyond its systems; the first nearly every one has. */
const features = ["big-parallel", "kvm"] as const

interface Sandbox {
  readonly host: HostId
  readonly cores: number
  readonly memoryBytes: number
  readonly identity: string
  readonly lose: (fault: "host" | "sandbox") => void
}

export interface Options {
  readonly chance: Chance
  readonly programs: ReadonlyArray<Program>
  readonly isIsolating: boolean
  /** Somebody asked for it to be built again on purpose, beside any other. */
  readonly mayRepeat: (identity: string) => boolean
  readonly complain: (complaint: string) => void
}

export class Farm {
  readonly hosts: ReadonlyArray<Host>
  readonly sandboxes = new Set<Sandbox>()
  /** How often one was started. */
  started = 0
  readonly #options: Options
  readonly #programs: ReadonlyMap<string, Program>

  constructor(options: Options) {
    const { chance, programs } = options
    this.#options = options
    this.#programs = new Map(programs.map((program) => [program.identity, program]))
    this.hosts = Array.from({ length: chance.between(1, 4) }, (_, index) => {
      const [first, second] = chance.happens(0.8) ? systems : [systems[1], systems[0]]
      const hasBoth = index === 0 || chance.happens(0.3)
      return new Host({
        id: HostId.make(`host-${index}`),
        systems: hasBoth ? [first, second] : [first],
        emulatedSystems: hasBoth && chance.happens(0.5) ? [second] : [],
        features: features.filter((_, feature) => chance.happens(feature === 0 ? 0.9 : 0.5)),
        cores: chance.between(1, 4),
        memoryBytes: chance.between(3, 12) * GiB,
        overheadBytes: chance.below(2) * (GiB / 2)
      })
    })
  }

  /** Whether there is a host of its kind, whatever its state. */
  takes({ derivation: { system }, features }: Program): boolean {
    return this.hosts.some(
      (host) => host.systems.includes(system) && features.every((name) => host.features.includes(name))
    )
  }

  /** Nothing outlives the server that started it. */
  crash() {
    this.sandboxes.clear()
  }

  loseOne() {
    const all = [...this.sandboxes]
    if (all.length > 0) this.#options.chance.pick(all).lose("sandbox")
  }

  loseHost() {
    const { id } = this.#options.chance.pick(this.hosts)
    for (const sandbox of this.sandboxes) if (sandbox.host === id) sandbox.lose("host")
  }

  members(life: Life): readonly [HostBuilders, ...ReadonlyArray<HostBuilders>] {
    const { chance, isIsolating } = this.#options
    const [first, ...rest] = this.hosts.map((host): HostBuilders => ({
      host,
      kindOf: () => ({ backend: isIsolating ? "emulated" : "process", versions: {}, isIsolating }),
      epoch: 1,
      run: (assignment, log) => this.#run(life, assignment, log),
      probe: Effect.suspend(() =>
        Effect.andThen(
          Effect.sleep(chance.below(2000)),
          chance.happens(0.2) ? Effect.fail(new BuilderLost({ fault: "host", detail: "no sandbox" })) : Effect.void
        )
      )
    }))
    return [first!, ...rest]
  }

  readonly #run: (life: Life, ...rest: Parameters<HostBuilders["run"]>) => ReturnType<HostBuilders["run"]> =
    Effect.fnUntraced({ self: this }, function* (life, { closure, derivation, derivationPath, lease }, log) {
      const { chance, complain } = this.#options
      const name = derivationPath.slice(33).replace(/\.drv$/, "")
      const identity = BuildId.of(name, derivation, closure)
      const program = this.#programs.get(identity)
      if (program === undefined) return yield* Effect.die(new Error(`expected a known program, found ${identity}`))

      yield* Effect.sleep(chance.below(300))
      let lost: BuilderLost | null = null
      let wake = () => {}
      const sandbox: Sandbox = {
        host: lease.host,
        cores: lease.cores,
        memoryBytes: lease.memoryBytes,
        identity: this.#options.isIsolating ? identity : lease.id,
        lose: (fault) => {
          lost = new BuilderLost({ fault, detail: "killed" })
          wake()
        }
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => this.#start(sandbox)),
        () =>
          Effect.andThen(
            Effect.sleep(chance.below(100)),
            Effect.sync(() => this.sandboxes.delete(sandbox))
          )
      )
      /** Works on, unless the sandbox is lost meanwhile. */
      const work = (milliseconds: number) =>
        Effect.callback<void, BuilderLost>((resume) => {
          const cancel = life.after(milliseconds, () => resume(lost === null ? Effect.void : Effect.fail(lost)))
          wake = () => {
            cancel()
            life.after(0, () => resume(lost === null ? Effect.void : Effect.fail(lost)))
          }
          return Effect.sync(() => {
            wake = () => {}
            cancel()
          })
        })

      const isStarved = lease.memoryBytes < program.memoryBytes
      for (let index = 0; index < program.lines; index++) {
        if (isStarved && index > program.lines / 2) break
        yield* work(program.milliseconds / (program.lines + 1))
        yield* log(new TextEncoder().encode(line(program, index)))
      }
      yield* work(program.milliseconds / (program.lines + 1))
      if (isStarved) {
        const message = `${program.name} ran out of memory`
        return yield* new BuildFailed({ failure: { status: "PermanentFailure", outcome: "out-of-memory", message } })
      }
      if (program.fails) {
        return yield* new BuildFailed({
          failure: { status: "PermanentFailure", outcome: "failed", message: `${program.name} failed` }
        })
      }
      if (!this.sandboxes.has(sandbox)) complain(`expected the sandbox of ${program.name} to live while it runs`)
      const finished: Finished = {
        usage: { ...noUsage, memoryPeakBytes: program.memoryBytes },
        importOutputs: Effect.as(work(chance.between(1, 500)), [{ name: "out", info: program.output, assured: false }]),
        keepOutputs: Effect.void
      }
      return finished
    })

  #start(sandbox: Sandbox) {
    const { complain, mayRepeat } = this.#options
    this.started++
    for (const other of this.sandboxes) {
      if (other.identity === sandbox.identity && !mayRepeat(other.identity))
        complain(`${sandbox.identity} runs beside its own remains`)
    }
    this.sandboxes.add(sandbox)
    const host = this.hosts.find(({ id }) => id === sandbox.host)
    if (host === undefined) return complain(`expected a known host, found ${sandbox.host}`)
    const here = [...this.sandboxes].filter((each) => each.host === host.id)
    const cores = here.reduce((sum, each) => sum + each.cores, 0)
    const memory = here.reduce((sum, each) => sum + each.memoryBytes + host.overheadBytes, 0)
    if (cores > host.cores) complain(`${host.id} has ${host.cores} cores, and ${cores} are in use`)
    if (memory > host.memoryBytes) complain(`${host.id} has ${host.memoryBytes} bytes, and ${memory} are in use`)
  }
}
