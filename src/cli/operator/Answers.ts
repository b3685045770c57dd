/** What each of the operator's requests is answered with: a question put to whoever keeps it, and no decision. */
import { Effect, Option, Schema } from "effect"
import { Builds } from "../../actors/build/Builds.ts"
import { State } from "../../actors/builder/HostLifecycle.ts"
import { Hosts } from "../../actors/builder/Hosts.ts"
import { Quotas } from "../../actors/quota/Quotas.ts"
import { words } from "../../actors/scheduler/Standing.ts"
import { AttemptId } from "../../domain/Attempt.ts"
import { names } from "../../domain/Quota.ts"
import { fingerprint } from "../../ssh/Authentication.ts"
import { AccountRepository } from "../../storage/AccountRepository.ts"
import { BuildRecords } from "../../storage/BuildRecords.ts"
import { DistrustRepository } from "../../storage/DistrustRepository.ts"
import { Doctor } from "../../storage/Doctor.ts"
import { LogStore } from "../../storage/LogStore.ts"
import { ReadLogRepository } from "../../storage/ReadLogRepository.ts"
import * as OpenSshKey from "../OpenSshKey.ts"
import { answers, type Request } from "./Request.ts"

/** What answers are made of. */
export type Services =
  | AccountRepository
  | BuildRecords
  | Builds
  | DistrustRepository
  | Doctor
  | Hosts
  | Quotas
  | LogStore
  | ReadLogRepository

/** There is no such thing as was asked for. */
export class Unknown extends Schema.TaggedError<Unknown>()("Unknown", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

const encode = {
  AddAccount: Schema.encodeEffect(answers.AddAccount),
  Examine: Schema.encodeEffect(answers.Examine),
  ListAccounts: Schema.encodeEffect(answers.ListAccounts),
  ListBuilds: Schema.encodeEffect(answers.ListBuilds),
  ListHosts: Schema.encodeEffect(answers.ListHosts),
  SetQuotas: Schema.encodeEffect(answers.SetQuotas),
  ShowBuild: Schema.encodeEffect(answers.ShowBuild),
  TakeBack: Schema.encodeEffect(answers.TakeBack)
}

/** For what a build waits in the queue; null if it does not. */
const waitsOf = Effect.fnUntraced(function* ({ id, state }: { readonly id: string; readonly state: string }) {
  if (state !== "queued") return null
  const standing = yield* (yield* Builds).standing(id)
  return standing === null ? null : words(standing)
})

const listBuilds = Effect.fnUntraced(function* (limit: number) {
  const builds = yield* (yield* BuildRecords).list({ limit })
  return yield* Effect.forEach(builds, (build) => Effect.map(waitsOf(build), (waits) => ({ ...build, waits })))
})

const showBuild = Effect.fnUntraced(function* (id: string) {
  const found = yield* (yield* BuildRecords).find(id)
  if (Option.isNone(found)) return yield* new Unknown({ detail: `expected the id of a build, found ${id}` })
  const build = found.value
  const logs = yield* LogStore
  // What is still written has its size only there.
  const attempts = yield* Effect.forEach(build.attempts, (attempt) =>
    attempt.logBytes === null
      ? Effect.map(logs.size(AttemptId.make(attempt.id)), (logBytes) => ({ ...attempt, logBytes }))
      : Effect.succeed(attempt)
  )
  const inputsRead = yield* (yield* ReadLogRepository).list(id)
  return { ...build, attempts, inputsRead, waits: yield* waitsOf(build) }
})

/** Says what is new, and what then holds. */
const setQuotas = Effect.fnUntraced(function* ({ account: name, amounts }: Extract<Request, { _tag: "SetQuotas" }>) {
  const found = yield* (yield* AccountRepository).findByName(name)
  if (Option.isNone(found)) return yield* new Unknown({ detail: `expected an account's name, found ${name}` })
  const account = found.value
  const quotas = yield* Quotas
  yield* Effect.forEach(amounts, ({ amount, name }) =>
    quotas.set(account.id, name, amount === "none" ? null : amount === "standard" ? undefined : amount)
  )
  const quota = yield* quotas.of(account.id)
  const used: { readonly [name: string]: number } = yield* quotas.used(account)
  return { account: name, quotas: names.map((name) => ({ name, max: quota[name], used: used[name] ?? null })) }
})

const listHosts = Effect.gen(function* () {
  const seen = yield* (yield* Hosts).list
  return seen.map(({ builders, host: { cores, id, memoryBytes, systems }, state }) => ({
    id,
    state: stateOf(state),
    reason: "reason" in state ? state.reason : null,
    builders,
    cores,
    memoryBytes,
    systems
  }))
})

const stateOf = State.match({
  Serving: () => "serving" as const,
  Doubted: () => "doubted" as const,
  Probing: () => "probing" as const,
  Quarantined: () => "quarantined" as const,
  Drained: () => "drained" as const
})

/** Fails with what the operator can do something about. */
export const answer = Effect.fn("Answers.answer")(
  function* (request: Request) {
    const accounts = yield* AccountRepository
    switch (request._tag) {
      case "AddAccount": {
        const key = yield* OpenSshKey.parsePublic(request.publicKey)
        const account = yield* accounts.create(request.name, key)
        const keys = [{ fingerprint: fingerprint(key.publicKey), comment: key.comment }]
        return yield* encode.AddAccount({ id: account.id, name: account.name, keys })
      }
      case "Examine":
        return yield* encode.Examine(yield* (yield* Doctor).examine)
      case "ListAccounts":
        return yield* encode.ListAccounts(yield* accounts.list)
      case "ListBuilds":
        return yield* encode.ListBuilds(yield* listBuilds(request.limit))
      case "ListHosts":
        return yield* encode.ListHosts(yield* listHosts)
      case "DrainHost":
        return yield* Effect.as((yield* Hosts).drain(request.host), null)
      case "ResumeHost":
        return yield* Effect.as((yield* Hosts).resume(request.host), null)
      case "SetQuotas":
        return yield* encode.SetQuotas(yield* setQuotas(request))
      case "ShowBuild":
        return yield* encode.ShowBuild(yield* showBuild(request.id))
      case "TakeBack":
        return yield* encode.TakeBack(yield* (yield* DistrustRepository).takeBack(request.distrusted))
    }
  },
  // What repositories return fits what is answered, or is a bug.
  Effect.catchTag("SchemaError", Effect.die)
)
