/**
 * Which connections may still be unauthenticated: a bounded number, in total and from one network.
 *
 * A newcomer is never turned away. When there are too many, the oldest one is told to go: whoever holds
 * connections open without logging in loses those, while an honest client, who logs in within a second,
 * is not the oldest for that long. Turning newcomers away instead would let a few hundred idle
 * connections keep everybody out.
 */

export interface Admission {
  /** Counts a connection that has not authenticated yet. `evict` is called, once, if it has to go. */
  readonly enter: (address: string, evict: () => void) => Leave
}

/** Takes a connection out of the count: it has authenticated, or has gone. Harmless when repeated. */
export type Leave = () => void

interface Waiting {
  readonly network: string
  readonly evict: () => void
}

export const make = (limits: { readonly totalMax: number; readonly perNetworkMax: number }): Admission => {
  // Sets keep the order in which their members came: the first is the oldest.
  const all = new Set<Waiting>()
  const networks = new Map<string, Set<Waiting>>()

  const leave = (waiting: Waiting) => {
    if (!all.delete(waiting)) return false
    const neighbours = networks.get(waiting.network)
    neighbours?.delete(waiting)
    if (neighbours?.size === 0) networks.delete(waiting.network)
    return true
  }

  const evictOldest = (of: Iterable<Waiting>) => {
    for (const waiting of of) {
      leave(waiting)
      return waiting.evict()
    }
  }

  return {
    enter: (address, evict) => {
      const waiting: Waiting = { network: networkOf(address), evict }
      const neighbours = networks.get(waiting.network) ?? new Set()
      if (neighbours.size >= limits.perNetworkMax) evictOldest(neighbours)
      if (all.size >= limits.totalMax) evictOldest(all)
      all.add(waiting)
      // Evicting the last neighbour has dropped the set, so it is put back whatever it was.
      networks.set(waiting.network, neighbours.add(waiting))
      return () => void leave(waiting)
    }
  }
}

/** What one person commands: an IPv4 address, or the first 64 bits of an IPv6 address. */
export const networkOf = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  if (!address.includes(":")) return address
  const [head = "", tail] = address.split("%")[0]!.split("::")
  const groups = head === "" ? [] : head.split(":")
  const after = tail === undefined || tail === "" ? [] : tail.split(":")
  // `::` stands for as many zero groups as are missing to eight.
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - after.length)
  const whole = [...groups, ...Array<string>(zeros).fill("0"), ...after]
  return `${whole
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`
}
