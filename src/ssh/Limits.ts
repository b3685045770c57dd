/** How much of the door one peer may have, each bound with what it prevents. */
import type { Duration } from "effect"
import type { ConnectionLimits } from "./Connection.ts"

export interface Limits extends ConnectionLimits {
  /** Connections that have not authenticated yet. Each costs a socket and, later, a key exchange. */
  readonly unauthenticatedMax: number
  /** Of these, from one address, or one IPv6 network of 64 bits: one client's own builds come all at once. */
  readonly unauthenticatedPerNetworkMax: number
  /** Channels open on one connection at a time. Each may hold a window of input, some 2 MiB. */
  readonly channelsMax: number
  /** Silence after which the peer is asked for a sign of life. */
  readonly keepaliveInterval: Duration.Input
  /** Questions unanswered before the peer counts as lost. */
  readonly keepaliveMax: number
}

export const defaultLimits: Limits = {
  unauthenticatedMax: 1024,
  unauthenticatedPerNetworkMax: 512,
  channelsMax: 128,
  attemptsMax: 20,
  handshakeTime: "60 seconds",
  // OpenSSH's master tells that a client of its own is gone only when it next hears of us: not too seldom then.
  keepaliveInterval: "15 seconds",
  // And a client that is stopped for a minute is not lost.
  keepaliveMax: 8
}
