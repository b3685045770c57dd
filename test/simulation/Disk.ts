/**
 * What outlives a server, as the services that it asks.
 *
 * Each question takes a moment to arrive, and its answer one to come back. In between it may be refused, or its answer
 * be lost, or the server end: what was on its way then may or may not have counted. Whoever asks again must be ready for
 * each.
 */
import { Effect, Layer, Option, Stream } from "effect"
import { BuildRepository } from "../../src/storage/BuildRepository.ts"
import { HistoryRepository } from "../../src/storage/HistoryRepository.ts"
import { HostRepository } from "../../src/storage/HostRepository.ts"
import { LogStore } from "../../src/storage/LogStore.ts"
import { NarStore } from "../../src/storage/NarStore.ts"
import { QuotaRepository } from "../../src/storage/QuotaRepository.ts"
import { RealisationRepository } from "../../src/storage/RealisationRepository.ts"
import { ReuseRepository } from "../../src/storage/ReuseRepository.ts"
import { FileError, StorageError } from "../../src/storage/StorageError.ts"
import { ViewRepository } from "../../src/storage/ViewRepository.ts"
import { WaitRepository } from "../../src/storage/WaitRepository.ts"
import type { Chance } from "./Chance.ts"
import { Rows } from "./Rows.ts"
import { Life, type Universe } from "./Universe.ts"

interface LogFile {
  readonly pieces: Array<Uint8Array>
  /** Whose is written; over, it grows no more. */
  readonly writer: Life
  hasEnded: boolean
  readers: Array<() => void>
}

const unasked = Effect.die(new Error("nobody asks this in a simulation"))

/** Nobody sends or fetches anything, so whatever is asked of it is answered by that. */
const unusedNars = new Proxy({} as NarStore["Service"], { get: () => () => unasked })

export class Disk {
  /** The share of questions that are refused at the moment; of the others, half as many lose their answers. */
  trouble = 0
  readonly rows = new Rows()
  readonly #logs = new Map<string, LogFile>()
  readonly #universe: Universe
  readonly #chance: Chance
  /** The database's own, which no server's end touches. */
  readonly #life: Life

  constructor(universe: Universe, chance: Chance) {
    this.#universe = universe
    this.#chance = chance
    this.#life = new Life(universe, chance)
  }

  layers(life: Life) {
    const { rows } = this
    const ask = <A>(operation: string, apply: (now: number) => A) => this.#ask(life, operation, apply)
    return Layer.mergeAll(
      Layer.succeed(BuildRepository, {
        create: (made) => ask("create", () => rows.create(made)),
        join: (build, account) => ask("join", () => rows.join(build, account)),
        setState: (build, state) => ask("setState", () => rows.setState(build, state)),
        beginAttempt: (build, attempt) => ask("beginAttempt", (now) => rows.beginAttempt(build, attempt, now)),
        endAttempt: (attempt, { outcome }) => ask("endAttempt", (now) => rows.endAttempt(attempt, outcome, now)),
        finish: (build, how, attempt) => ask("finish", (now) => rows.finish(build, how, now, attempt)),
        setLimit: (build, seconds) => ask("setLimit", () => rows.setLimit(build, seconds))
      }),
      Layer.succeed(ReuseRepository, {
        candidates: (identity, account, view) => ask("candidates", () => rows.candidates(identity, account, view)),
        outputs: (build) => ask("outputs", () => rows.outputs(build)),
        record: (reused) => ask("record", () => rows.reuse(reused))
      }),
      Layer.succeed(WaitRepository, {
        begin: (wait) => ask("begin a wait", () => rows.beginWait(wait)),
        keep: (wait, until) => ask("keep a wait", () => rows.keepWait(wait, until)),
        end: (wait) => ask("end a wait", () => rows.endWait(wait)),
        interrupted: (how) => ask("interrupted", (now) => rows.interrupt(how, now)),
        owed: ask("owed", () => rows.owed)
      }),
      Layer.succeed(ViewRepository, {
        add: (view, additions) =>
          ask("grant", () => {
            for (const { assured, info } of additions) rows.add(view, info, assured)
          }),
        addWithNar: () => unasked,
        findMany: (view, paths) => ask("find paths", () => rows.many(view, paths)),
        valid: (view, paths) => ask("valid paths", () => rows.many(view, paths).map(({ path }) => path)),
        // Nothing here refers to anything.
        closure: (view, roots) => ask("closure", () => rows.many(view, roots)),
        find: () => unasked,
        findByHashPart: () => unasked,
        referrers: () => unasked,
        all: () => unasked,
        addSignatures: () => unasked,
        storedBytes: (view) => ask("stored bytes", () => rows.storedBytes(view))
      }),
      Layer.succeed(HistoryRepository, { find: () => ask("history", () => ({ identity: [], version: [], name: [] })) }),
      Layer.succeed(HostRepository, {
        drained: ask("drained hosts", () => rows.drained),
        setDrained: (host, isDrained) => ask("drain", () => rows.setDrained(host, isDrained))
      }),
      Layer.succeed(QuotaRepository, {
        find: (account) => ask("quotas", () => rows.quotas(account)),
        set: (account, name, amount) => ask("set a quota", () => rows.setQuotas(account, { [name]: amount })),
        unset: () => unasked
      }),
      Layer.succeed(NarStore, unusedNars),
      Layer.succeed(RealisationRepository, {
        register: () => unasked,
        registerKeyed: () => unasked,
        find: () => unasked,
        findKeyed: () => unasked
      }),
      Layer.succeed(LogStore, this.#logStore(life))
    )
  }

  #later(life: Life, then: () => void): () => void {
    if (this.#chance.happens(0.7)) {
      let isOff = false
      this.#universe.schedule(life, () => {
        if (!isOff) then()
      })
      return () => {
        isOff = true
      }
    }
    return life.after(this.#chance.between(1, 30), then)
  }

  /** Asks; what is asked for is done at one moment or not at all. `isSure`: no answer to it is ever lost. */
  #ask<A>(life: Life, operation: string, apply: (now: number) => A, isSure = false): Effect.Effect<A, StorageError> {
    return Effect.callback<A, StorageError>((resume) => {
      const chance = this.#chance
      const isRefused = chance.happens(this.trouble)
      const isLost = !isSure && !isRefused && chance.happens(this.trouble / 2)
      let isGivenUp = false
      const reply = (answer: Effect.Effect<A, StorageError>) =>
        this.#later(life, () => {
          if (!isGivenUp) resume(answer)
        })
      this.#later(this.#life, () => {
        // What was on its way when the server ended, or when it took its question back, may have arrived.
        if ((life.isOver || isGivenUp) && chance.happens(0.5)) return
        if (isRefused) return reply(refusal(operation))
        const answer = attempted(() => apply(this.#universe.now))
        reply(isLost ? refusal(operation) : answer)
      })
      return Effect.sync(() => {
        isGivenUp = true
      })
    })
  }

  #logStore(life: Life): LogStore["Service"] {
    const changed = (log: LogFile) => {
      const readers = log.readers
      log.readers = []
      for (const reader of readers) reader()
    }
    return {
      open: (attempt) =>
        Effect.gen({ self: this }, function* () {
          const log: LogFile = { pieces: [], writer: life, hasEnded: false, readers: [] }
          const end = Effect.sync(() => {
            log.hasEnded = true
            changed(log)
          })
          yield* Effect.acquireRelease(
            this.#ask(life, "open a log", () => void this.#logs.set(attempt, log), true),
            () => end
          )
          const append = (bytes: Uint8Array) =>
            this.#ask(
              life,
              "append",
              () => {
                log.pieces.push(bytes)
                changed(log)
              },
              true
            )
          return { append, end }
        }),
      size: (attempt) =>
        this.#ask(
          life,
          "size of a log",
          () => this.#logs.get(attempt)?.pieces.reduce((sum, { length }) => sum + length, 0) ?? null
        ),
      follow: (attempt) =>
        Stream.unwrap(
          Effect.map(
            Effect.sync(() => this.#logs.get(attempt)),
            (log) => {
              if (log === undefined) return Stream.die(new Error(`expected a log of ${attempt}, found none`))
              const grown = Effect.callback<void>((resume) => {
                log.readers.push(() => resume(Effect.void))
              })
              return Stream.paginate(0, (at: number) =>
                Effect.gen(function* () {
                  while (at === log.pieces.length && !log.hasEnded && !log.writer.isOver) yield* grown
                  if (at === log.pieces.length) return [[], Option.none<number>()] as const
                  return [[log.pieces[at]!], Option.some(at + 1)] as const
                })
              )
            }
          )
        )
    }
  }
}

const refusal = (operation: string) =>
  Effect.fail(new StorageError({ operation, cause: new FileError({ path: "", code: "EAGAIN", detail: "in trouble" }) }))

/** What breaks a rule of the database's is a bug of whoever asked. */
const attempted = <A>(apply: () => A): Effect.Effect<A> => {
  try {
    return Effect.succeed(apply())
  } catch (error) {
    return Effect.die(error)
  }
}
