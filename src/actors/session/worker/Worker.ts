/** One connection of the worker protocol, as the handlers of its operations see it. */
import type { Effect, Ref, Scope } from "effect"
import type { Account } from "../../../domain/Account.ts"
import type { Limits } from "../../../domain/Limits.ts"
import type { Settings } from "../../../domain/Settings.ts"
import type { Version } from "../../../protocol/wire/Codec.ts"
import type { Name, Request, Response } from "../../../protocol/worker/Operations.ts"
import type { NarStore } from "../../../storage/NarStore.ts"
import type { RealisationRepository } from "../../../storage/RealisationRepository.ts"
import type { ViewRepository } from "../../../storage/ViewRepository.ts"
import type { Builds } from "../../build/Builds.ts"
import type { Quotas } from "../../quota/Quotas.ts"
import type { Requests } from "../../../telemetry/Request.ts"
import type { Channel, ChannelClosed } from "../Channel.ts"
import type { Peer } from "../Peer.ts"
import type { OutOfStep, Told, Trouble } from "../Trouble.ts"

export interface Worker {
  readonly account: Account
  readonly peer: Peer
  /** What was agreed on, with its features. */
  readonly version: Version
  /** As `Channel.closed`. */
  readonly closed: Channel["closed"]
  /** As `Channel.departure`. */
  readonly departure: Channel["departure"]
  /** What the client has asked for its builds. */
  readonly limits: Ref.Ref<Limits>
  /** What its environment asks. */
  readonly settings: Settings
  /** What it asks for, to be traced. */
  readonly requests: Requests
}

/** What sessions answer from. */
export type Services = Builds | NarStore | Quotas | RealisationRepository | ViewRepository

export type Failure = Trouble | Told | OutOfStep | ChannelClosed

/** Answers one operation. Its scope ends with the answer. */
export type Handler<N extends Name> = (
  worker: Worker,
  request: Request<N>
) => Effect.Effect<Response<N>, Failure, Services | Scope.Scope>

export type Handlers<N extends Name> = { readonly [K in N]: Handler<K> }
