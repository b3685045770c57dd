/**
 * The state of a machine as QEMU sends it, without the pages of its memory in which there is nothing.
 *
 * A machine that takes it in has such memory anyway. Told of each empty page, it would look at it: of two gigabytes that
 * takes four times as long as taking in what there is.
 *
 *     magic, version: u32 each            all numbers here are big-endian
 *     configuration                       0x07, a text of u32 length
 *     sections of the memory              0x01 (first), 0x02, 0x03 (last), u32 number; the first with a name and two u32;
 *                                         then entries, and in the end 0x7e and the number again
 *     the rest                            processors and devices, which are none of our business
 *
 * An entry of the memory is a u64, an address whose lowest twelve bits say what it is, and of which block of the memory
 * unless that is the same as before:
 *
 *     0x04    the blocks that there are: the address is the sum of their lengths, each follows with name and length
 *     0x02    a page of one byte over and over, which follows
 *     0x08    a page, which follows
 *     0x10    the end of the section
 *     0x20    beside one of them: it is of the same block
 *
 * The state is of a machine that has run nothing of anybody's; but what is anything else than this is refused.
 *
 * @see QEMU `docs/devel/migration.rst`
 */
import { WireError } from "../../protocol/wire/Codec.ts"

const magic = 0x5145_564d
const version = 3
const pageBytes = 4096

const kinds = { first: 0x01, part: 0x02, last: 0x03, configuration: 0x07, footer: 0x7e } as const
const entries = { filled: 0x02, blocks: 0x04, page: 0x08, end: 0x10, same: 0x20 } as const

/** Of the configuration's text, which is the name of a kind of machine. */
const textBytesMax = 256

type State = "Magic" | "Section" | "Entry" | "Blocks" | "Footer" | "Rest"

const refused = (expected: string, found: number) => new WireError({ expected, found: `0x${found.toString(16)}` })

export class MachineState {
  #state: State = "Magic"
  #rest: Buffer = Buffer.alloc(0)
  #isLast = false
  /** Of the blocks that are still to be named. */
  #blockBytesLeft = 0
  #isMemory = false
  readonly #memory: string

  /** `memory`: the name of the block that is all of the guest's memory, and empty to begin with. */
  constructor(memory: string) {
    this.#memory = memory
  }

  /** Whether the memory has been seen to its end. */
  get isWhole(): boolean {
    return this.#state === "Rest"
  }

  /** What is kept of it. Throws `WireError` for what is no such state. */
  push(bytes: Uint8Array): Uint8Array {
    const buffer = Buffer.concat([this.#rest, bytes])
    const kept: Array<Uint8Array> = []
    let from = 0
    let at = 0
    while (this.#state !== "Rest") {
      const { isEmpty, length } = this.#measure(buffer, at)
      if (at + length > buffer.length) break
      if (isEmpty) {
        if (at > from) kept.push(buffer.subarray(from, at))
        from = at + length
      }
      at += length
    }
    if (this.#state === "Rest") at = buffer.length
    kept.push(buffer.subarray(from, at))
    this.#rest = buffer.subarray(at)
    return Buffer.concat(kept)
  }

  /**
   * How long the next thing is, and whether nothing is lost without it. Where it is not all there, a length that says so,
   * and the state is as before.
   */
  #measure(buffer: Buffer, at: number): { readonly length: number; readonly isEmpty: boolean } {
    const there = buffer.length - at
    switch (this.#state) {
      case "Magic": {
        if (there < 8) return more(8)
        if (buffer.readUInt32BE(at) !== magic) throw refused("the state of a machine", buffer.readUInt32BE(at))
        if (buffer.readUInt32BE(at + 4) !== version) throw refused("version 3 of it", buffer.readUInt32BE(at + 4))
        this.#state = "Section"
        return more(8)
      }
      case "Section":
        return this.#section(buffer, at, there)
      case "Entry":
        return this.#entry(buffer, at, there)
      case "Blocks": {
        const length = there < 1 ? 1 : 1 + buffer.readUInt8(at) + 8
        if (there < length) return more(length)
        this.#blockBytesLeft -= Number(buffer.readBigUInt64BE(at + length - 8))
        if (this.#blockBytesLeft < 0) throw refused("blocks of memory as long as all of it", -this.#blockBytesLeft)
        if (this.#blockBytesLeft === 0) this.#state = "Entry"
        return more(length)
      }
      case "Footer": {
        if (there < 5) return more(5)
        if (buffer.readUInt8(at) !== kinds.footer) throw refused("the end of a section", buffer.readUInt8(at))
        this.#state = this.#isLast ? "Rest" : "Section"
        return more(5)
      }
      case "Rest":
        return more(there)
    }
  }

  #section(buffer: Buffer, at: number, there: number) {
    if (there < 5) return more(5)
    const kind = buffer.readUInt8(at)
    if (kind === kinds.configuration) {
      const length = buffer.readUInt32BE(at + 1)
      if (length > textBytesMax) throw refused("the name of a kind of machine", length)
      return more(5 + length)
    }
    if (kind !== kinds.first && kind !== kinds.part && kind !== kinds.last) throw refused("a section", kind)
    let length = 5
    if (kind === kinds.first) {
      if (there < 6) return more(6)
      length = 6 + buffer.readUInt8(at + 5) + 8
      if (there < length) return more(length)
      const name = buffer.toString("latin1", at + 6, at + length - 8)
      if (name !== "ram") throw new WireError({ expected: "a section of memory", found: JSON.stringify(name) })
    }
    this.#isLast = kind === kinds.last
    this.#state = "Entry"
    return more(length)
  }

  #entry(buffer: Buffer, at: number, there: number) {
    if (there < 8) return more(8)
    const flags = buffer.readUInt32BE(at + 4) & (pageBytes - 1)
    if (flags === entries.end) {
      this.#state = "Footer"
      return more(8)
    }
    if (flags === entries.blocks) {
      this.#blockBytesLeft = Number(buffer.readBigUInt64BE(at)) - flags
      this.#state = "Blocks"
      return more(8)
    }
    const isSame = (flags & entries.same) !== 0
    const kind = flags & ~entries.same
    if (kind !== entries.filled && kind !== entries.page) throw refused("a page of memory", flags)
    const contents = kind === entries.page ? pageBytes : 1
    if (isSame) {
      if (there < 8 + contents) return more(8 + contents)
      const isEmpty = this.#isMemory && kind === entries.filled && buffer.readUInt8(at + 8) === 0
      return { length: 8 + contents, isEmpty }
    }
    if (there < 9) return more(9)
    const nameBytes = buffer.readUInt8(at + 8)
    const length = 9 + nameBytes + contents
    // Those after it may mean the same block, and then name none: it is kept, empty or not.
    if (there >= length) this.#isMemory = buffer.toString("latin1", at + 9, at + 9 + nameBytes) === this.#memory
    return more(length)
  }
}

const more = (length: number) => ({ length, isEmpty: false })
