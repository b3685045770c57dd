/** How much a build gets, asked of all who have a say in it: its history, its client, and the hosts that could run it. */
import { Effect } from "effect"
import type { AccountId } from "../../domain/Account.ts"
import type { BuildId } from "../../domain/BuildId.ts"
import type { Host } from "../../domain/Host.ts"
import type { Requirements } from "../../domain/Requirements.ts"
import type { Settings } from "../../domain/Settings.ts"
import * as Sizing from "../../domain/Sizing.ts"
import { HistoryRepository } from "../../storage/HistoryRepository.ts"
import { BuilderPool } from "../builder/BuilderPool.ts"
import { takersOf } from "../scheduler/Placement.ts"
import { recorded } from "./Recorded.ts"

export interface Asked {
  readonly account: AccountId
  readonly identity: BuildId
  /** The derivation's, without `.drv`. */
  readonly name: string
  readonly system: string
  readonly requirements: Requirements
  readonly settings: Settings
}

export type Provision = (asked: Asked) => Effect.Effect<Sizing.Size>

export const make: Effect.Effect<Provision, never, BuilderPool | HistoryRepository> = Effect.gen(function* () {
  const builders = yield* BuilderPool
  const histories = yield* HistoryRepository
  const defaults = yield* Sizing.Sizing

  return Effect.fn("Provision")(function* ({ account, identity, name, requirements, settings, system }: Asked) {
    const history = yield* recorded(histories.find({ account, identity, name }))
    return Sizing.size(history, requirements, settings, roomOf(builders.hosts, system, requirements), defaults)
  })
})

/** Where none is of its kind, the scheduler says so: no size could change that. */
const roomOf = (hosts: ReadonlyArray<Host>, system: string, { features }: Requirements): Sizing.Room => {
  // Those that it may be given, and no others: it could not have what only a host has that emulates its system.
  const takers = takersOf(
    hosts.map((host) => ({ host })),
    { system, features }
  ).map(({ host }) => host)
  const able = takers.length > 0 ? takers : hosts
  const memory = able.map((host) => host.memoryBytes - host.overheadBytes)
  return {
    coresMax: Math.max(...able.map(({ cores }) => cores)),
    memoryBytesMax: Math.max(...memory),
    memoryBytesMin: Math.min(...memory)
  }
}
