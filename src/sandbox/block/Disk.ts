/**
 * The disk of one virtual machine: the image of its closure, and in place of the files the NARs that hold them. It
 * remembers how much of which store paths was read.
 */
import type { InputRead } from "../../domain/InputRead.ts"
import type { StoredNar } from "../ClosureSource.ts"
import type { Image, Member, Part } from "./Erofs.ts"
import { blockBytes } from "./Layout.ts"
import type { NarFiles } from "./NarFiles.ts"

export interface DiskMember extends Member {
  readonly contents: StoredNar["contents"]
}

/** Bytes of a NAR that stand at a place of the disk. */
interface Run {
  readonly member: DiskMember
  readonly narOffset: number
  /** In what is read. */
  readonly at: number
  readonly length: number
}

export class Disk {
  readonly sizeBytes: number
  readonly #image: Image<DiskMember>
  readonly #files: NarFiles
  readonly #read = new Map<DiskMember, number>()

  constructor(image: Image<DiskMember>, files: NarFiles) {
    this.sizeBytes = image.sizeBytes
    this.#image = image
    this.#files = files
  }

  /** Store paths of which a file was read, and how much of them: what is read twice counts twice. */
  get read(): ReadonlyArray<InputRead> {
    return Array.from(this.#read, ([{ path }, bytes]) => ({ path, bytes }))
  }

  /** Fills what stands at `offset` into `target`, from `at` on, and calls back with why if it cannot. */
  fill(
    target: Uint8Array,
    at: number,
    { length, offset }: { readonly offset: number; readonly length: number },
    done: (error: Error | null) => void
  ): void {
    const { metadata } = this.#image
    const fromMetadata = Math.min(length, Math.max(0, metadata.length - offset))
    if (fromMetadata > 0) target.set(metadata.subarray(offset, offset + fromMetadata), at)
    // What is between the end of a file and its block's is zero.
    target.fill(0, at + fromMetadata, at + length)

    // One for this call itself, so that it is not done before all are begun.
    let waiting = 1
    let trouble: Error | null = null
    const one = (error: Error | null) => {
      trouble ??= error
      if (--waiting === 0) done(trouble)
    }
    for (const run of this.#runs(offset + fromMetadata, offset + length)) {
      this.#read.set(run.member, (this.#read.get(run.member) ?? 0) + run.length)
      waiting++
      this.#take(run, target, at + run.at - offset, one)
    }
    one(null)
  }

  #take({ length, member, narOffset }: Run, target: Uint8Array, at: number, done: (error: Error | null) => void): void {
    const { contents } = member
    if (contents._tag === "Bytes") {
      target.set(contents.bytes.subarray(narOffset, narOffset + length), at)
      done(null)
      return
    }
    this.#files.read(contents.path, { bytes: target, at, length }, narOffset, (error, count) => {
      const isShort = error === null && count < length
      done(isShort ? new Error(`${contents.path}: expected ${length} bytes at ${narOffset}, found ${count}`) : error)
    })
  }

  /** All that stands between two addresses, both behind the metadata; `at` counts from the disk's beginning. */
  *#runs(from: number, to: number): Iterable<Run> {
    const { parts } = this.#image
    for (let index = lastUpTo(parts.length, (at) => parts[at]!.firstBlock, from / blockBytes); from < to; index++) {
      const part = parts[index]
      if (part === undefined) return
      const end = Math.min(to, (part.firstBlock + part.member.image.fileBlocks) * blockBytes)
      yield* runsOf(part, from, end)
      from = Math.max(from, end)
    }
  }
}

function* runsOf({ firstBlock, member }: Part<DiskMember>, from: number, to: number): Iterable<Run> {
  const { firstBlocks, narOffsets, sizes } = member.image.extents
  const block = Math.floor(from / blockBytes) - firstBlock
  for (let index = lastUpTo(firstBlocks.length, (at) => firstBlocks[at]!, block); index < firstBlocks.length; index++) {
    const start = (firstBlock + firstBlocks[index]!) * blockBytes
    if (start >= to) return
    const skipped = Math.max(0, from - start)
    const length = Math.min(sizes[index]!, to - start) - skipped
    if (length > 0) yield { member, narOffset: narOffsets[index]! + skipped, at: start + skipped, length }
  }
}

/** The last index whose value is not beyond `bound`, or 0. The values rise. */
const lastUpTo = (count: number, valueAt: (index: number) => number, bound: number): number => {
  let low = 0
  let high = count - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (valueAt(middle) <= bound) low = middle
    else high = middle - 1
  }
  return Math.max(0, low)
}
