/**
 * What the database holds of builds, attempts, waits and views, and what it makes of a statement: the rules of the real
 * one's queries, without the queries.
 */
import type { Backend, Outcome } from "../../src/domain/Attempt.ts"
import type { HostId } from "../../src/domain/Host.ts"
import type { Overrides } from "../../src/domain/Quota.ts"
import type { PathInfo } from "../../src/protocol/nix/PathInfo.ts"
import type { BuildEnd, BuildState, NewAttempt, NewBuild, Written } from "../../src/storage/BuildRepository.ts"
import type { Finished, MadeOutput, Reused } from "../../src/storage/ReuseRepository.ts"
import { ViewEntry } from "../../src/storage/ViewRepository.ts"
import type { Interrupted, Owed, Wait } from "../../src/storage/WaitRepository.ts"

interface AttemptRow {
  readonly id: NewAttempt["id"]
  readonly backend: Backend
  readonly epoch: number
  readonly cores: number
  readonly memoryBytes: number
  readonly startedAt: number
  outcome: Outcome | null
  endedAt: number
  limitSeconds: number | null
}

interface BuildRow {
  readonly made: NewBuild
  readonly attempts: Array<AttemptRow>
  readonly accounts: Set<string>
  readonly reusedFrom: string | null
  state: BuildState
  current: AttemptRow | null
  end: BuildEnd | null
}

interface WaitRow {
  readonly wait: Wait
  keptUntil: number | null
}

/** A server that has been killed under a build so often does not try it again. */
const lostMax = 3

const written = (isWritten: boolean): Written => (isWritten ? "written" : "superseded")

export class Rows {
  readonly #builds = new Map<string, BuildRow>()
  readonly #waits = new Map<string, WaitRow>()
  readonly #quotas = new Map<string, Overrides>()
  readonly #drained = new Set<HostId>()
  readonly #views = new Map<string, Map<string, ViewEntry>>()
  /** Every output that a build made, for whoever is answered by it. */
  readonly #made = new Map<string, ReadonlyArray<MadeOutput>>()

  // -- builds ------------------------------------------------------------------

  create(made: NewBuild) {
    const before = this.#builds.get(made.id)
    if (before !== undefined) return void before.accounts.add(made.account)
    this.#builds.set(made.id, {
      made,
      attempts: [],
      accounts: new Set([made.account]),
      reusedFrom: null,
      state: "queued",
      current: null,
      end: null
    })
  }

  join(build: string, account: string) {
    const row = this.#builds.get(build)
    if (row === undefined) throw new Error(`expected build ${build} to be recorded`)
    row.accounts.add(account)
  }

  setState(build: string, state: BuildState): Written {
    const row = this.#open(build)
    if (row !== null) row.state = state
    return written(row !== null)
  }

  beginAttempt(build: string, { cores, epoch, id, memoryBytes, sandbox }: NewAttempt, now: number): Written {
    const row = this.#open(build)
    if (row === null) return "superseded"
    for (const attempt of row.attempts) if (attempt.id !== id) end(attempt, "lost", now)
    if (row.current?.id !== id) {
      const attempt = { id, backend: sandbox, epoch, cores, memoryBytes, startedAt: now }
      row.attempts.push({ ...attempt, outcome: null, endedAt: 0, limitSeconds: null })
      row.current = row.attempts.at(-1)!
    }
    row.state = "building"
    return "written"
  }

  endAttempt(attempt: string, outcome: Outcome, now: number): Written {
    const row = [...this.#builds.values()].find(({ current }) => current?.id === attempt)
    if (row === undefined || row.end !== null || row.current === null || row.current.outcome !== null) {
      return "superseded"
    }
    end(row.current, outcome, now)
    return "written"
  }

  finish(build: string, how: BuildEnd, now: number, attempt?: string): Written {
    const row = this.#open(build)
    if (row === null || (attempt !== undefined && row.current?.id !== attempt)) return "superseded"
    this.#finish(row, how, now)
    return "written"
  }

  #finish(row: BuildRow, how: BuildEnd, now: number) {
    row.state = how.state
    row.end = how
    for (const attempt of row.attempts) end(attempt, "cancelled", now)
    for (const [id, { wait }] of this.#waits) if (wait.build === row.made.id) this.#waits.delete(id)
    this.#made.set(
      row.made.id,
      how.outputs.map(({ contentAddress, name, narHash, path, references }) => ({
        name,
        path,
        narHash,
        narSize: 120,
        references: [...references],
        contentAddress
      }))
    )
  }

  setLimit(build: string, seconds: number) {
    const attempt = this.#builds.get(build)?.current
    if (attempt !== undefined && attempt !== null) attempt.limitSeconds = seconds
  }

  #open(build: string): BuildRow | null {
    const row = this.#builds.get(build)
    return row === undefined || row.end !== null || row.reusedFrom !== null ? null : row
  }

  /** Attempts without an end, which is right only while they run. */
  get running(): ReadonlyArray<string> {
    return [...this.#builds.values()].flatMap(({ attempts }) =>
      attempts.filter(({ outcome }) => outcome === null).map(({ id }) => id)
    )
  }

  /** Builds without an end. */
  get open(): ReadonlyArray<string> {
    return [...this.#builds.keys()].filter((id) => this.#open(id) !== null)
  }

  get waits(): ReadonlyArray<string> {
    return [...this.#waits.keys()]
  }

  // -- reuse -------------------------------------------------------------------

  candidates(identity: string, account: string, view: string): ReadonlyArray<Finished> {
    return [...this.#builds.values()].flatMap((row): ReadonlyArray<Finished> => {
      const { current, end, made } = row
      if (made.identity !== identity || end === null || current === null || row.reusedFrom !== null) return []
      if (current.outcome === null) return []
      if (end.state === "cancelled" && current.outcome !== "timed-out" && current.outcome !== "silent") return []
      const outputs = this.#made.get(made.id) ?? []
      return [
        {
          build: made.id,
          state: end.state,
          status: end.status as Finished["status"],
          message: end.message,
          derivation: made.derivation,
          isOwn: row.accounts.has(account),
          isComplete: end.state === "succeeded",
          agrees: outputs.every(({ narHash, path }) => (this.seen(view, path)?.narHash ?? narHash) === narHash),
          isDistrusted: false,
          attempt: current.id,
          outcome: current.outcome,
          backend: current.backend,
          epoch: current.epoch,
          cores: current.cores,
          memoryBytes: current.memoryBytes,
          limitSeconds: current.limitSeconds,
          cpuUserMicroseconds: null,
          cpuSystemMicroseconds: null,
          startedAt: Math.floor(current.startedAt / 1000),
          endedAt: Math.floor(current.endedAt / 1000)
        }
      ]
    })
  }

  outputs(build: string): ReadonlyArray<MadeOutput> {
    return this.#made.get(build) ?? []
  }

  reuse({ from, ...made }: Reused) {
    if (this.#builds.has(made.id)) {
      if (this.#builds.get(made.id)?.reusedFrom === from) return
      throw new Error(`expected a new build, found ${made.id}`)
    }
    const before = this.#builds.get(from)
    if (before?.end === undefined || before.end === null) throw new Error(`expected build ${from} to have ended`)
    this.#builds.set(made.id, {
      made,
      attempts: [],
      accounts: new Set([made.account]),
      reusedFrom: from,
      state: before.state,
      current: null,
      end: before.end
    })
  }

  // -- waits -------------------------------------------------------------------

  beginWait(wait: Wait) {
    if (this.#open(wait.build) !== null && !this.#waits.has(wait.id)) {
      this.#waits.set(wait.id, { wait, keptUntil: null })
    }
  }

  keepWait(wait: string, until: number) {
    const row = this.#waits.get(wait)
    if (row !== undefined) row.keptUntil = until
  }

  endWait(wait: string) {
    this.#waits.delete(wait)
  }

  interrupt(how: "ended" | "killed", now: number): Interrupted {
    const counts = { attempts: 0, queued: 0, cancelled: 0 }
    for (const [id, { keptUntil }] of this.#waits) if (keptUntil !== null && keptUntil <= now) this.#waits.delete(id)
    const awaited = new Set([...this.#waits.values()].map(({ wait }) => wait.build))
    for (const [id, row] of this.#builds) {
      for (const attempt of row.attempts) {
        if (end(attempt, how === "ended" ? "cancelled" : "lost", now)) counts.attempts++
      }
      if (this.#open(id) === null) continue
      const lost = row.attempts.filter(({ outcome }) => outcome === "lost").length
      if (!awaited.has(id) || lost >= lostMax) {
        const message = "the server ended"
        this.#finish(row, { state: "cancelled", status: "MiscFailure", message, outputs: [] }, now)
        counts.cancelled++
      } else {
        row.state = "queued"
        counts.queued++
      }
    }
    return counts
  }

  get owed(): ReadonlyArray<Owed> {
    return [...this.#waits.values()].flatMap(({ keptUntil, wait }) => {
      const row = this.#open(wait.build)
      return row === null
        ? []
        : [{ ...wait, identity: row.made.identity, derivationPath: row.made.derivation, keptUntil }]
    })
  }

  // -- what the operator has said ------------------------------------------------

  quotas(account: string): Overrides {
    return this.#quotas.get(account) ?? {}
  }

  setQuotas(account: string, said: Overrides) {
    this.#quotas.set(account, { ...this.quotas(account), ...said })
  }

  get drained(): ReadonlyArray<HostId> {
    return [...this.#drained]
  }

  setDrained(host: HostId, isDrained: boolean) {
    if (isDrained) this.#drained.add(host)
    else this.#drained.delete(host)
  }

  // -- views -------------------------------------------------------------------

  #view(id: string) {
    const found = this.#views.get(id) ?? new Map<string, ViewEntry>()
    this.#views.set(id, found)
    return found
  }

  seen(view: string, path: string): ViewEntry | undefined {
    return this.#view(view).get(path)
  }

  /** The first under a path stays. */
  add(view: string, info: PathInfo, assured: boolean) {
    if (!this.#view(view).has(info.path))
      this.#view(view).set(info.path, new ViewEntry(Object.assign({ assured }, info)))
  }

  storedBytes(view: string): number {
    let sum = 0
    for (const { narSize } of this.#view(view).values()) sum += narSize
    return sum
  }

  many(view: string, paths: ReadonlyArray<string>): ReadonlyArray<ViewEntry> {
    return paths.flatMap((path) => this.seen(view, path) ?? []).sort((a, b) => (a.path < b.path ? -1 : 1))
  }
}

const end = (attempt: AttemptRow, outcome: Outcome, now: number): boolean => {
  if (attempt.outcome !== null) return false
  attempt.outcome = outcome
  attempt.endedAt = now
  return true
}
