/**
 * Whether a build fits a host: whether the host is of its kind at all, and has the room.
 *
 * A host that only emulates a system takes builds of it where no registered host with the features has a processor for
 * it. That is asked of all registered hosts, those out of service included: a build that waits for its host to come back
 * is sooner done than one that runs fifteen times as long.
 */
import type { Host } from "../../domain/Host.ts"
import type { Need } from "../../domain/Need.ts"
import * as Size from "../../domain/Size.ts"

/** What of a host is lent, or is not. */
export interface Amount {
  readonly cores: number
  readonly memoryBytes: number
}

/** What a build asks for before its size: the system and the features. */
export type Kind = Pick<Need, "system" | "features">

export const wholeOf = ({ cores, memoryBytes }: Host): Amount => ({ cores, memoryBytes })

export const plus = (a: Amount, b: Amount): Amount => ({
  cores: a.cores + b.cores,
  memoryBytes: a.memoryBytes + b.memoryBytes
})

export const minus = (a: Amount, b: Amount): Amount => ({
  cores: a.cores - b.cores,
  memoryBytes: a.memoryBytes - b.memoryBytes
})

/** The cores that a build gets on this host. */
export const coresOn = (host: Host, { cores }: Pick<Need, "cores">): number => (cores === "all" ? host.cores : cores)

/** What a lease takes out of a host's books, the sandbox's own overhead included. */
export const priceOn = (host: Host, need: Pick<Need, "cores" | "memoryBytes">): Amount => ({
  cores: coresOn(host, need),
  memoryBytes: need.memoryBytes + host.overheadBytes
})

export const fits = (price: Amount, free: Amount): boolean =>
  price.cores <= free.cores && price.memoryBytes <= free.memoryBytes

const isOfKind = (host: Host, { features, system }: Kind): boolean =>
  host.systems.includes(system) && features.every((feature) => host.features.includes(feature))

/** Of all the hosts that are registered, those that may be given such builds; none is by its size. */
export const takersOf = <H extends { readonly host: Host }>(hosts: ReadonlyArray<H>, kind: Kind): ReadonlyArray<H> => {
  const able = hosts.filter(({ host }) => isOfKind(host, kind))
  const native = able.filter(({ host }) => !host.emulatedSystems.includes(kind.system))
  return native.length > 0 ? native : able
}

const list = (words: Iterable<string>): string => `{${[...new Set(words)].sort().join(", ")}}`

/** Why none of the hosts that are registered could ever take it, in the words that Nix uses; null if one could. */
export const refusal = (hosts: ReadonlyArray<{ readonly host: Host }>, need: Need): string | null => {
  const takers = takersOf(hosts, need)
  if (takers.some(({ host }) => fits(priceOn(host, need), wholeOf(host)))) return null
  if (takers.length > 0) {
    const cores = need.cores === "all" ? "all cores of a host" : `${need.cores} cores`
    const rooms = takers.map(
      ({ host }) => `${host.cores} cores and ${Size.print(Math.max(0, host.memoryBytes - host.overheadBytes))}`
    )
    return (
      `it asks for ${cores} and ${Size.print(need.memoryBytes)} of memory, ` +
      `and the hosts that could take it have, for one build, ${[...new Set(rooms)].sort().join(", or ")}`
    )
  }
  return (
    `a '${need.system}' with features ${list(need.features)} is required to build it, ` +
    `but this service has ${list(hosts.flatMap(({ host }) => host.systems))} ` +
    `with features ${list(hosts.flatMap(({ host }) => host.features))}`
  )
}
