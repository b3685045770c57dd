/** Whether a build fits a host: of its kind at all, in its whole size, and in what is free of it now. */
import type { Host } from "../../domain/Host.ts"
import type { Need } from "../../domain/Need.ts"

/** What of a host is not lent. */
export interface Free {
  readonly cores: number
  readonly memoryBytes: number
}

const whole = (host: Host): Free => ({ cores: host.cores, memoryBytes: host.memoryBytes })

/** The cores that a build gets on this host. */
export const coresOn = (host: Host, need: Need): number => (need.cores === "all" ? host.cores : need.cores)

/** What a lease takes out of a host's books, the sandbox's own overhead included. */
export const priceOn = (host: Host, need: Need): Free => ({
  cores: coresOn(host, need),
  memoryBytes: need.memoryBytes + host.overheadBytes
})

const isOfKind = (host: Host, need: Need): boolean =>
  host.systems.includes(need.system) && need.features.every((feature) => host.features.includes(feature))

export const fits = (host: Host, free: Free, need: Need): boolean => {
  const price = priceOn(host, need)
  return isOfKind(host, need) && price.cores <= free.cores && price.memoryBytes <= free.memoryBytes
}

const list = (words: Iterable<string>): string => `{${[...new Set(words)].sort().join(", ")}}`

/** Why no host could ever take it, in the words that Nix uses; null if one could. */
export const refusal = (hosts: ReadonlyArray<Host>, need: Need): string | null => {
  if (hosts.some((host) => fits(host, whole(host), need))) return null
  if (hosts.some((host) => isOfKind(host, need))) {
    const cores = Math.max(...hosts.map((host) => host.cores))
    const memory = Math.max(...hosts.map((host) => host.memoryBytes - host.overheadBytes))
    return (
      `it asks for ${need.cores} cores and ${need.memoryBytes} bytes of memory, ` +
      `and no host has more than ${cores} cores and ${memory} bytes for one build`
    )
  }
  return (
    `a '${need.system}' with features ${list(need.features)} is required to build it, ` +
    `but this service has ${list(hosts.flatMap((host) => host.systems))} ` +
    `with features ${list(hosts.flatMap((host) => host.features))}`
  )
}
