/**
 * Which addresses may be connected to on behalf of somebody else: by their builds, or by us where they chose the
 * address.
 *
 * By default those that anybody on the Internet can reach as well. What only this machine can reach (its own services,
 * its neighbours, the metadata of its cloud) is nobody's to reach through it. The operator may name further prefixes, or
 * take some away again by naming what they lie in: **the longest prefix that holds an address decides**, as it does for
 * routes, and routes are what it is made into for builds. Addresses of this machine's own stay out of reach in any case.
 *
 * It is asked of the address that is connected to, at every connect: a name can mean another address the next time.
 */
import * as Prefix from "./IpPrefix.ts"
import type { IpPrefix } from "./IpPrefix.ts"

/** What holds for the addresses of a prefix. */
export interface Rule {
  readonly prefix: IpPrefix
  /** Why they are out of reach; null if they may be reached. */
  readonly refusal: string | null
}

/** One rule for each prefix, the longest first. */
export type EgressPolicy = ReadonlyArray<Rule>

const reachable = ["0.0.0.0/0", "2000::/3"]

/** @see IANA's special-purpose address registries, of which this is all that is not reachable globally, and more. */
const refused: ReadonlyArray<readonly [prefix: string, refusal: string]> = [
  ["0.0.0.0/8", "it means this machine"],
  ["10.0.0.0/8", "it is private"],
  ["100.64.0.0/10", "it is a provider's own"],
  ["127.0.0.0/8", "it means this machine"],
  ["168.63.129.16/32", "it is a cloud's agent on its hosts"],
  ["169.254.0.0/16", "it is of this link, or a cloud's metadata"],
  ["172.16.0.0/12", "it is private"],
  ["192.0.0.0/24", "it is for protocols"],
  ["192.0.2.0/24", "it is for examples"],
  ["192.88.99.0/24", "it relays to another protocol"],
  ["192.168.0.0/16", "it is private"],
  ["198.18.0.0/15", "it is for measurements"],
  ["198.51.100.0/24", "it is for examples"],
  ["203.0.113.0/24", "it is for examples"],
  ["224.0.0.0/4", "it is nobody's own"],
  ["240.0.0.0/4", "it is reserved, or means everybody here"],
  ["::/0", "it is not reachable from everywhere"],
  ["::/127", "it means this machine"],
  ["::ffff:0.0.0.0/96", "it is another address in disguise"],
  ["64:ff9b::/96", "it is translated to another address"],
  ["64:ff9b:1::/48", "it is translated to another address"],
  ["2001::/23", "it is for protocols, Teredo among them"],
  ["2001:db8::/32", "it is for examples"],
  ["2002::/16", "it is relayed to another address"],
  ["3fff::/20", "it is for examples"],
  ["fc00::/7", "it is private"],
  ["fe80::/10", "it is of this link"],
  ["ff00::/8", "it is nobody's own"]
]

const own = "it is an address of this machine"

const parsed = (text: string): IpPrefix => {
  const prefix = Prefix.parse(text)
  if (prefix === null) throw new Error(`expected a prefix, found ${text}`)
  return prefix
}

/** The same for everybody, whatever the machine. */
const table: ReadonlyArray<Rule> = [
  ...reachable.map((text) => ({ prefix: parsed(text), refusal: null })),
  ...refused.map(([text, refusal]) => ({ prefix: parsed(text), refusal }))
]

/** `allowed` by the operator; `addresses` that are this machine's own. */
export const make = (options: {
  readonly allowed: ReadonlyArray<IpPrefix>
  readonly addresses: ReadonlyArray<IpPrefix>
}): EgressPolicy => {
  const rules = [
    ...table,
    ...options.allowed.map((prefix) => ({ prefix, refusal: null })),
    ...options.addresses.map((prefix) => ({ prefix, refusal: own }))
  ]
  const last = new Map(rules.map((rule) => [Prefix.print(rule.prefix), rule]))
  return [...last.values()].sort((a, b) => b.prefix.length - a.prefix.length)
}

/** Why the address may not be connected to, in a few words; null if it may. */
export const refusal = (policy: EgressPolicy, address: string): string | null => {
  const wanted = Prefix.parseAddress(address)
  if (wanted === null) return "it is not an address"
  // The table alone holds every address.
  return policy.find(({ prefix }) => Prefix.holds(prefix, wanted))?.refusal ?? null
}

export const isAllowed = (policy: EgressPolicy, address: string): boolean => refusal(policy, address) === null
