/**
 * Addresses of the Internet Protocol, versions 4 and 6, and prefixes of them: `10.0.0.0/8`, `2001:db8::/32`.
 *
 * An address is a prefix of its whole length. Only one spelling of version 4 is read, four decimal numbers: what some
 * programs take for an address besides (octal, a number alone) is none here. Zones (`fe80::1%eth0`) are none either.
 */
import { isIPv4, isIPv6 } from "node:net"

export interface IpPrefix {
  readonly version: 4 | 6
  /** Bits past the length are zero. */
  readonly bits: bigint
  readonly length: number
}

const bitsMax = { 4: 32, 6: 128 } as const

const mask = (version: 4 | 6, length: number): bigint =>
  ((1n << BigInt(length)) - 1n) << BigInt(bitsMax[version] - length)

const bitsOf4 = (text: string): bigint => text.split(".").reduce((bits, part) => (bits << 8n) | BigInt(part), 0n)

/** Its last two groups may be written as an address of version 4. */
const bitsOf6 = (text: string): bigint => {
  const [, head = "", quad] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text) ?? []
  if (quad !== undefined) {
    const low = bitsOf4(quad)
    return bitsOf6(`${head}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`)
  }
  const [before = [], after = []] = text.split("::").map((half) => half.split(":").filter((group) => group !== ""))
  const gap = Array.from({ length: 8 - before.length - after.length }, () => "0")
  return [...before, ...gap, ...after].reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n)
}

export const parseAddress = (text: string): IpPrefix | null => {
  if (isIPv4(text)) return { version: 4, bits: bitsOf4(text), length: 32 }
  return isIPv6(text) && !text.includes("%") ? { version: 6, bits: bitsOf6(text), length: 128 } : null
}

/** `ADDRESS/LENGTH`, or an address alone. With bits past the length it is not known what was meant. */
export const parse = (text: string): IpPrefix | null => {
  const [, address = "", digits] = /^([^/]*)(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(text) ?? []
  const whole = parseAddress(address)
  if (whole === null) return null
  const length = digits === undefined ? whole.length : Number(digits)
  return length > whole.length || (whole.bits & ~mask(whole.version, length)) !== 0n ? null : { ...whole, length }
}

/** One or more, with commas between them. */
export const parseList = (text: string): ReadonlyArray<IpPrefix> | null => {
  const prefixes = text.split(",").map(parse)
  return prefixes.includes(null) ? null : prefixes.filter((prefix) => prefix !== null)
}

export const holds = (prefix: IpPrefix, other: IpPrefix): boolean =>
  prefix.version === other.version &&
  prefix.length <= other.length &&
  (other.bits & mask(prefix.version, prefix.length)) === prefix.bits

const printBits = ({ bits, version }: IpPrefix): string => {
  const size = version === 4 ? 8n : 16n
  const parts = Array.from({ length: version === 4 ? 4 : 8 }, (_, index) =>
    Number((bits >> (size * BigInt((version === 4 ? 3 : 7) - index))) & ((1n << size) - 1n))
  )
  return version === 4 ? parts.join(".") : parts.map((part) => part.toString(16)).join(":")
}

/** With its length, and for version 6 with every group: it is read by programs. */
export const print = (prefix: IpPrefix): string => `${printBits(prefix)}/${prefix.length}`
