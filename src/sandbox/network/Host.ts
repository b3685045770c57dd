/**
 * What this machine's network is, as far as a build's depends on it: its own addresses, which are out of reach, its
 * resolver, and whether there is a way out by version 6. It is read anew for each build, since all of it changes.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as IpPrefix from "../../domain/IpPrefix.ts"

export interface Host {
  /** Those that are delivered here, which may be whole prefixes. */
  readonly addresses: ReadonlyArray<IpPrefix.IpPrefix>
  /** The first that can be spoken to; null if there is none. */
  readonly resolver: string | null
  readonly hasVersion6: boolean
}

/** Where it is read. A test has a network of its own, and a process in it. */
export interface Places {
  /** `/proc/self` shows the network that we are in. */
  readonly process: string
  /** The directory of `resolv.conf`, `hosts` and `services`. */
  readonly etc: string
}

export const places: Places = { process: "/proc/self", etc: "/etc" }

const readText = (file: string): string => {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    // Without version 6 its files are not there; and a machine need not have a resolver.
    return ""
  }
}

export const read = ({ etc, process }: Places): Host => {
  const net = (name: string) => readText(path.join(process, "net", name))
  const hasVersion6 = hasDefaultRoute6(net("ipv6_route"))
  return {
    addresses: [...addresses4(net("fib_trie")), ...addresses6(net("if_inet6"))],
    resolver: resolverIn(readText(path.join(etc, "resolv.conf")), hasVersion6),
    hasVersion6
  }
}

const parsed = (text: string): ReadonlyArray<IpPrefix.IpPrefix> => {
  const prefix = IpPrefix.parse(text)
  return prefix === null ? [] : [prefix]
}

/** Each `|-- ADDRESS` is followed by what holds of it: `/LENGTH host LOCAL` if it is delivered here. */
export const addresses4 = (trie: string): ReadonlyArray<IpPrefix.IpPrefix> =>
  [...trie.matchAll(/\|-- (\S+)\n((?:\s+\/\d+ .*\n)+)/g)].flatMap(([, address = "", facts = ""]) =>
    [...facts.matchAll(/\/(\d+) host LOCAL/g)].flatMap(([, length = ""]) => parsed(`${address}/${length}`))
  )

/** 32 digits, then the index of an interface and more. */
export const addresses6 = (table: string): ReadonlyArray<IpPrefix.IpPrefix> =>
  [...table.matchAll(/^([0-9a-f]{32}) /gm)].flatMap(([, digits = ""]) =>
    parsed(digits.replace(/(?<=^(?:.{4})+)(?=.)/g, ":"))
  )

/** To everywhere, from everywhere, and by another interface than that of what leads nowhere. */
export const hasDefaultRoute6 = (table: string): boolean =>
  table.split("\n").some((line) => /^0{32} 00 0{32} 00 /.test(line) && !line.endsWith(" lo"))

/** As glibc reads it. One of version 6 is of no use where version 6 leads nowhere. */
export const resolverIn = (text: string, hasVersion6: boolean): string | null => {
  const found = [...text.matchAll(/^nameserver[ \t]+(\S+)/gm)].map(([, address = ""]) => address)
  const version = (wanted: 4 | 6) => found.find((address) => IpPrefix.parseAddress(address)?.version === wanted)
  return version(4) ?? (hasVersion6 ? version(6) : undefined) ?? null
}
