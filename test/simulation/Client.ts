/** One who asks for a build in a simulation: what for, how patiently, and what came of it. */
import { Effect, type Fiber, Stream } from "effect"
import { type Answer, Builds, type Request } from "../../src/actors/build/Builds.ts"
import type { Refused } from "../../src/actors/build/Refused.ts"
import type { Account } from "../../src/domain/Account.ts"
import { defaults } from "../../src/domain/Settings.ts"
import type { Chance } from "./Chance.ts"
import * as Programs from "./Programs.ts"
import type { Rows } from "./Rows.ts"

const decoder = new TextDecoder()

export class Client {
  /** `away`: to come, or to come back. `gone`: for good. */
  state: "away" | "waiting" | "answered" | "gone" = "away"
  fiber: Fiber.Fiber<Answer, Refused> | null = null
  /** Null while it is there; also when the server cuts it off. */
  departure: "left" | "silent" | null = null
  readonly name: string
  readonly account: Account
  readonly program: Programs.Program
  readonly request: Request
  #heard = ""

  constructor(name: string, account: Account, program: Programs.Program, chance: Chance) {
    const { derivation, derivationPath } = program
    const timeoutSeconds = chance.happens(0.1) ? chance.between(1, 15) : null
    this.name = name
    this.account = account
    this.program = program
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
      check: chance.happens(0.05),
      departure: () => this.departure
    }
  }

  /** Asks, and listens to the end. */
  get session(): Effect.Effect<Answer, Refused, Builds> {
    this.#heard = ""
    this.departure = null
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
        return yield* waiting.answer
      })
    )
  }

  /** What is wrong with an answer; null if nothing is. */
  judge({ message, status }: Answer, rows: Rows, others: ReadonlyArray<Client>): string | null {
    const { program, request } = this
    const log = Programs.log(program)
    switch (status) {
      case "AlreadyValid":
      case "Built": {
        const seen = rows.seen(this.account.view, program.output.path)
        if (seen === undefined) return "was told of an output that its account does not see"
        if (!this.#mayBe(seen.narHash, others)) return "sees other contents than its program makes"
        if (status === "AlreadyValid") return null
        if (program.fails) return "was told of a success of a program that fails"
        return this.#heard === log ? null : `heard ${JSON.stringify(this.#heard)} for a log of ${JSON.stringify(log)}`
      }
      case "PermanentFailure":
        if (/memory/.test(message)) return program.memoryBytes > 2 ** 30 ? null : `was told without reason: ${message}`
        // A sandbox that is lost three times over is taken for the build's own doing.
        if (/sandbox ended/.test(message)) return null
        if (!program.fails) return `was told of a failure of a program that succeeds: ${message}`
        return this.#heard === log ? null : `heard ${JSON.stringify(this.#heard)} for a log of ${JSON.stringify(log)}`
      case "TimedOut":
        return request.limits.timeoutSeconds === null ? "timed out, who has no limit" : null
      case "NotDeterministic":
        return request.check ? null : "was told that its program is not deterministic"
      case "InputRejected":
        return null
      case "TransientFailure":
      case "MiscFailure":
      case "OutputRejected":
      case "LogLimitExceeded":
        return `was told ${status}: ${message}`
    }
  }

  /** Its own program's, or what its account has under this path from another program that claims it. */
  #mayBe(narHash: string, others: ReadonlyArray<Client>) {
    return [this, ...others].some(
      ({ account, program }) =>
        account === this.account &&
        program.output.path === this.program.output.path &&
        program.output.narHash === narHash
    )
  }
}
