/** The state of a machine as QEMU sends it: a memory of a few pages, and words for its devices. */
import { Schema } from "effect"
import * as fs from "node:fs"

export const pageBytes = 4096

export const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
export const u64 = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}
export const named = (name: string) => Buffer.concat([Buffer.of(name.length), Buffer.from(name)])

/** A page of the memory, or of the firmware's: as QEMU says it, and what is to be kept of it. */
const Page = Schema.Struct({
  of: Schema.Literals(["pc.ram", "pc.bios"]),
  byte: Schema.Literals([0, 1, 255]),
  isFilled: Schema.Boolean
})
export const Pages = Schema.Array(Page)
type Page = typeof Page.Type

export const head = Buffer.concat([u32(0x5145564d), u32(3), Buffer.of(7), u32(6), Buffer.from("pc-q35")])
export const blocks = Buffer.concat([
  u64(3 * pageBytes + 0x04),
  ...[named("pc.ram"), u64(2 * pageBytes), named("pc.bios"), u64(pageBytes)]
])
export const first = Buffer.concat([Buffer.of(1), u32(2), named("ram"), u32(0), u32(4)])
export const end = Buffer.concat([u64(0x10), Buffer.of(0x7e), u32(2)])
export const rest = Buffer.from("the devices, whatever they say")

export const state = (pages: ReadonlyArray<Page>, isCondensed: boolean) => {
  let before: string | null = null
  const entries = pages.map((page, index) => {
    const isSame = page.of === before
    before = page.of
    const kind = (page.isFilled ? 0x02 : 0x08) | (isSame ? 0x20 : 0)
    const contents = page.isFilled ? Buffer.of(page.byte) : Buffer.alloc(pageBytes, page.byte)
    // What names its block is needed by those that follow.
    if (isCondensed && isSame && page.of === "pc.ram" && page.isFilled && page.byte === 0) return Buffer.alloc(0)
    return Buffer.concat([u64(index * pageBytes + kind), ...(isSame ? [] : [named(page.of)]), contents])
  })
  const half = Math.floor(entries.length / 2)
  return Buffer.concat([
    ...[head, first, blocks, end],
    ...[Buffer.of(2), u32(2), ...entries.slice(0, half), end],
    ...[Buffer.of(3), u32(2), ...entries.slice(half), end, rest]
  ])
}

/** The server, which the tests are here, has a descriptor to write each template's state by; nobody else has. */
export const statesIn = (directory: string) =>
  fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(directory) && target.endsWith("/state (deleted)")
    } catch {
      // By which the directory was read.
      return false
    }
  })
