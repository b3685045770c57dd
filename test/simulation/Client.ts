/** One who asks for a build in a simulation: what for, by which way, how patiently, and whether what it is told is true. */
import { Effect, type Fiber, Stream } from "effect"
import { Builds, type Request } from "../../src/actors/build/Builds.ts"
import type { Refused } from "../../src/actors/build/Refused.ts"
import type { Account } from "../../src/domain/Account.ts"
import { defaults, type Settings, table } from "../../src/domain/Settings.ts"
import type { BuildResult } from "../../src/protocol/nix/BuildResult.ts"
import type { Allowances } from "./Allowances.ts"
import type { Chance } from "./Chance.ts"
import type { Heard } from "./Dialogue.ts"
import type { Farm } from "./Farm.ts"
import * as Programs from "./Programs.ts"
import type { Rows } from "./Rows.ts"
import type { Wire } from "./Doors.ts"

const decoder = new TextDecoder()

/** Asks `Builds` itself, or a session that speaks one of the protocols. */
export type Way = "direct" | "worker" | "serve"

/** What a client is judged by. */
export interface Known {
  readonly rows: Rows
  readonly farm: Farm
  readonly allowances: Allowances
  readonly clients: ReadonlyArray<Client>
}

/** `refused`: by a quota, so that it may come again. */
export type Verdict = "right" | "refused" | { readonly wrong: string }

const wrong = (wrong: string): Verdict => ({ wrong })

export class Client {
  /** `away`: to come, or to come back. `gone`: for good. */
  state: "away" | "waiting" | "answered" | "gone" = "away"
  fiber: Fiber.Fiber<unknown, unknown> | null = null
  /** The connection it has, if it needs one. */
  wire: Wire | null = null
  /** Null while it is there; also when the server cuts it off. */
  departure: "left" | "silent" | null = null
  /** The most sessions that its account has had at a time since it came. */
  peak = 0
  readonly name: string
  readonly account: Account
  readonly program: Programs.Program
  readonly way: Way
  readonly request: Request
  #heard = ""

  constructor(name: string, account: Account, program: Programs.Program, chance: Chance) {
    const { derivation, derivationPath } = program
    const timeoutSeconds = chance.happens(0.1) ? chance.between(1, 15) : null
    this.name = name
    this.account = account
    this.program = program
    this.way = chance.happens(0.75) ? "direct" : chance.pick(["worker", "serve"])
    this.request = {
      account,
      derivation,
      derivationPath,
      limits: { timeoutSeconds, silenceSecondsMax: null, logBytesMax: null },
      settings: {
        ...defaults,
        reuseBuilds: chance.happens(0.9),
        reuseBuildFailures: chance.happens(0.7),
        reuseBuildTimeouts: chance.happens(0.3),
        keepBuildsRunning: chance.happens(0.05),
        memoryBytesMax: chance.happens(0.1) ? chance.between(1, 4) * 2 ** 30 : null
      },
      // The serve protocol has no word for it.
      check: chance.happens(0.05) && this.way !== "serve",
      departure: () => this.departure
    }
  }

  /** Its settings, as its connection has them. */
  get environment(): ReadonlyMap<string, string> {
    // The keys are those of the table.
    const names = Object.keys(table) as ReadonlyArray<keyof Settings>
    return new Map(
      names.flatMap((name) => {
        const value = this.request.settings[name]
        return value === defaults[name] || value === null ? [] : [[table[name].variable, printed(value)]]
      })
    )
  }

  begin() {
    this.#heard = ""
    this.departure = null
  }

  /** Asks without a session, and listens to the end. */
  get direct(): Effect.Effect<Pick<BuildResult, "status" | "error">, Refused, Builds> {
    return Effect.scoped(
      Effect.gen({ self: this }, function* () {
        const builds = yield* Builds
        const waiting = yield* builds.submit(this.request)
        yield* Stream.runForEach(waiting.heard, (heard) =>
          Effect.sync(() => {
            if (heard._tag === "Log") this.#heard += decoder.decode(heard.bytes)
            else if (/started again/.test(heard.line)) this.#heard = ""
          })
        )
        const { message, status } = yield* waiting.answer
        return { status, error: message }
      })
    )
  }

  /** What came of its session: the log by its lines, among those of the service. */
  hear({ isValid, lines, result }: Heard): Verdict {
    for (const line of lines) {
      if (/^drover: .*started again/.test(line)) this.#heard = ""
      else if (!line.startsWith("drover: ")) this.#heard += `${line}\n`
    }
    const isBuilt = result.status === "Built" || result.status === "AlreadyValid"
    return isBuilt && !isValid ? wrong("was told of an output that its store has not") : "right"
  }

  /** What is wrong with an answer. */
  judge({ error, status }: Pick<BuildResult, "status" | "error">, known: Known): Verdict {
    const { program, request } = this
    const { allowances, farm, rows } = known
    const log = Programs.log(program)
    const whole = (): Verdict =>
      this.#heard === log ? "right" : wrong(`heard ${JSON.stringify(this.#heard)} for a log of ${JSON.stringify(log)}`)
    switch (status) {
      case "AlreadyValid":
      case "Built": {
        const seen = rows.seen(this.account.view, program.output.path)
        if (seen === undefined) return wrong("was told of an output that its account does not see")
        if (!this.#mayBe(seen.narHash, known.clients)) return wrong("sees other contents than its program makes")
        if (status === "AlreadyValid") return "right"
        return program.fails ? wrong("was told of a success of a program that fails") : whole()
      }
      case "PermanentFailure":
        if (/memory/.test(error)) return program.memoryBytes > 2 ** 30 ? "right" : wrong(`was told, not so: ${error}`)
        // A sandbox that is lost three times over is taken for the build's own doing.
        if (/sandbox ended/.test(error)) return "right"
        return program.fails ? whole() : wrong(`was told of a failure of a program that succeeds: ${error}`)
      case "TimedOut":
        return request.limits.timeoutSeconds === null ? wrong("timed out, who has no limit") : "right"
      case "NotDeterministic":
        return request.check ? "right" : wrong("was told that its program is not deterministic")
      case "InputRejected":
        return farm.takes(program) ? wrong(`was refused what a host could take: ${error}`) : "right"
      case "LogLimitExceeded":
        return log.length > allowances.bounds(this.account.id, "log").least
          ? "right"
          : wrong(`was told of too long a log, which has ${log.length} bytes`)
      case "TransientFailure":
        return this.refused(error, known)
      default:
        return wrong(`was told ${status}: ${error}`)
    }
  }

  /** Whether its account has as much as it may have. */
  refused(refusal: string, { allowances, rows }: Pick<Known, "allowances" | "rows">): Verdict {
    const name = allowances.named(refusal)
    if (name === null) return wrong(`was refused: ${refusal}`)
    const { least } = allowances.bounds(this.account.id, name)
    const found = name === "stored" ? rows.storedBytes(this.account.view) : this.peak
    return found > least ? "refused" : wrong(`was refused with ${found} of ${least}: ${refusal}`)
  }

  /** Its own program's, or what its account has under this path from another program that claims it. */
  #mayBe(narHash: string, clients: ReadonlyArray<Client>) {
    return [this, ...clients].some(
      ({ account, program }) =>
        account === this.account &&
        program.output.path === this.program.output.path &&
        program.output.narHash === narHash
    )
  }
}

/** Sizes are whole gibibytes here. */
const printed = (value: boolean | number) => (typeof value === "boolean" ? String(value) : `${value / 2 ** 30}G`)
