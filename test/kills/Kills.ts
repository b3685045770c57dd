/**
 * Real kills under real load: a server, clients that build on it and try again as their users would, and SIGKILL for
 * whoever a seed chooses, again and again.
 *
 * After each kill some build comes to its end before the next, so that what is tested is getting over it, and not how
 * much killing it takes to stop all work. In the end every build that was ever asked for has succeeded with what it was
 * to make, the server finds nothing wrong with itself, and nothing is left of what was killed.
 */
import { cpus } from "node:os"
import { Chance } from "../simulation/Chance.ts"
import { type Client, derivation, World } from "../e2e/World.ts"
import * as Victims from "./Victims.ts"

export interface Options {
  readonly count: number
  readonly seed: number
  readonly clients: number
  readonly sandbox: string
  readonly say: (line: string) => void
}

export interface Report {
  readonly kills: Readonly<Record<Victims.Kind, number>>
  readonly built: number
  /** Tries that failed, as they do when the server is killed, and were made again. */
  readonly repeated: number
  /** Each a sentence; none, when all is well. */
  readonly lost: ReadonlyArray<string>
  readonly wrong: ReadonlyArray<string>
  readonly leaked: ReadonlyArray<string>
  /** What `drover doctor` said. */
  readonly doctor: string
  readonly isWell: boolean
}

/** Milliseconds after which a user gives up, and the build is lost: a server takes its time to start on a busy machine. */
const givingUpMilliseconds = 15 * 60_000

/** Milliseconds after which one try hangs: none takes more than seconds, and what was killed is back in as many. */
const hangingMilliseconds = 4 * 60_000

/** Milliseconds before a build is tried again. */
const pauseMilliseconds = 300

/** Milliseconds after which the next kill comes although no build has ended. */
const patienceMilliseconds = 60_000

/** The sooner come most often. */
const kinds: ReadonlyArray<Victims.Kind> = [
  "sandbox",
  "sandbox",
  "sandbox",
  "jail",
  "jail",
  "postgres",
  "postgres",
  "drover",
  "drover"
]

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

export const run = async (options: Options): Promise<Report> => {
  const world = new World()
  try {
    return await new Run(world, options).report()
  } finally {
    await world.close()
  }
}

class Run {
  readonly #world: World
  readonly #options: Options
  readonly #chance: Chance
  readonly #servers: Array<number> = []
  readonly #kills = { drover: 0, postgres: 0, sandbox: 0, jail: 0 }
  readonly #lost: Array<string> = []
  readonly #wrong: Array<string> = []
  #built = 0
  #repeated = 0
  #isOver = false
  #ports: { readonly ssh: string; readonly http: string } | null = null

  constructor(world: World, options: Options) {
    this.#world = world
    this.#options = options
    this.#chance = new Chance(options.seed)
  }

  async report(): Promise<Report> {
    const { clients: count, say } = this.#options
    await this.#start()
    const clients: Array<Client> = []
    for (let index = 0; index < count; index++) clients.push(await this.#world.client())
    say(`${count} clients build on ${this.#world.drover.ready.ssh}`)
    const working = clients.map((client, index) => this.#work(client, index))
    try {
      await this.#killAll()
    } finally {
      this.#isOver = true
      await Promise.all(working)
    }

    const examined = await this.#world.drover.command("doctor")
    const { data } = this.#world.drover.ready
    await this.#world.drover.stop()
    const leaked = Victims.leftovers(data, this.#servers)
    return {
      kills: this.#kills,
      built: this.#built,
      repeated: this.#repeated,
      lost: this.#lost,
      wrong: this.#wrong,
      leaked,
      doctor: `${examined.out}${examined.err}`.trim(),
      isWell: examined.status === 0
    }
  }

  /** The same again where it was, as whoever supervises it would have it. */
  async #start() {
    const { sandbox } = this.#options
    const drover = await this.#world.start({
      // More at a time than there are processors: what is killed is to be in the midst of something.
      arguments: ["--sandbox", sandbox, "--cores", String(Math.max(4, cpus().length))],
      ...(this.#ports === null ? {} : { ports: this.#ports })
    })
    this.#ports = { ssh: drover.ready.ssh, http: drover.ready.http }
    const server = Victims.serverOf(drover.ready.data)
    if (server !== undefined) this.#servers.push(server.pid)
  }

  // ---------------------------------------------------------------------------
  // clients
  // ---------------------------------------------------------------------------

  async #work(client: Client, index: number) {
    for (let ordinal = 0; !this.#isOver; ordinal++) {
      const words = `what client ${index} made as number ${ordinal}`
      const script = `echo begun; $bb/busybox sleep 0.${(index * 7 + ordinal) % 10}; echo '${words}' > $out`
      await this.#build(client, `client-${index}-${ordinal}`, derivation(`kill-${index}-${ordinal}`, script), words)
    }
  }

  /** Until it succeeds, or nobody would try any more. */
  async #build(client: Client, name: string, expression: string, words: string) {
    let said = ""
    const until = performance.now() + givingUpMilliseconds
    for (let tries = 1; performance.now() < until; tries++) {
      const building = client.startBuild(expression, tries % 2 === 0 ? "ssh" : "ssh-ng")
      const hanging = setTimeout(() => {
        this.#lost.push(`${name}: try ${tries} has hung for ${hangingMilliseconds / 60_000} minutes`)
        building.signal("SIGKILL")
      }, hangingMilliseconds)
      const ended = await building.ended
      clearTimeout(hanging)
      if (ended.status === 0) {
        const output = ended.out.trim()
        const found = await client.store.run(["cat", output])
        if (found.out.trim() !== words) {
          this.#wrong.push(`${name}: expected ${JSON.stringify(words)}, found ${JSON.stringify(found.out.trim())}`)
        }
        this.#built++
        return
      }
      said = ended.err.trim().split("\n").slice(-3).join(" | ")
      // Only what was told by the builder itself may say that it failed, and none of these does.
      if (/failed with exit code [2-9]|hash mismatch|not deterministic/.test(ended.err))
        this.#wrong.push(`${name}: ${said}`)
      this.#repeated++
      await pause(pauseMilliseconds)
    }
    this.#lost.push(`${name}: not built in ${givingUpMilliseconds / 60_000} minutes, the last time: ${said}`)
  }

  // ---------------------------------------------------------------------------
  // kills
  // ---------------------------------------------------------------------------

  async #killAll() {
    const { count, say } = this.#options
    for (let ordinal = 1; ordinal <= count; ordinal++) {
      await this.#progress()
      await pause(this.#chance.below(1500))
      const kind = await this.#kill()
      this.#kills[kind]++
      if (kind === "drover") {
        await this.#world.drover.process.ended
        await this.#start()
      }
      if (ordinal % 10 === 0) say(`${ordinal} kills, ${this.#built} built, ${this.#repeated} tried again`)
    }
    await this.#progress()
  }

  /** Waits until one more build has come to its end. */
  async #progress() {
    const before = this.#built
    const until = performance.now() + patienceMilliseconds
    while (this.#built === before && performance.now() < until) await pause(50)
  }

  /** Whoever is there of the kind that chance has chosen; another kind where nobody is. */
  async #kill(): Promise<Victims.Kind> {
    const { data } = this.#world.drover.ready
    while (true) {
      const kind = this.#chance.pick(kinds)
      const victims = Victims.find(kind, data)
      if (victims.length === 0) {
        await pause(20)
        continue
      }
      try {
        process.kill(this.#chance.pick(victims), "SIGKILL")
        return kind
      } catch {
        // It has ended by itself meanwhile.
      }
    }
  }
}

export const isWell = ({ isWell, leaked, lost, wrong }: Report): boolean =>
  isWell && lost.length + wrong.length + leaked.length === 0

export const words = ({ built, doctor, kills, leaked, lost, repeated, wrong }: Report): string => {
  const killed = Object.entries(kills).map(([kind, count]) => `${count} ${kind}`)
  const list = (what: string, all: ReadonlyArray<string>) => [
    `${all.length} ${what}`,
    ...all.map((each) => `  ${each}`)
  ]
  return [
    `killed ${killed.join(", ")}; ${built} builds, ${repeated} tries that failed and were made again`,
    ...list("lost", lost),
    ...list("wrong", wrong),
    ...list("leaked", leaked),
    `doctor: ${doctor}`
  ].join("\n")
}
