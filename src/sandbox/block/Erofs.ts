/**
 * The image of a closure: an EROFS whose root is the store directory and holds these store paths.
 *
 *   block 0            super block
 *   block 1            the root's inode, then the end of its directory
 *   blocks from 2 on   the rest of that directory; then inodes and directories, NAR by NAR
 *   and then           files, NAR by NAR, each from a block's beginning on; these blocks are nowhere but in the NARs
 *
 * Only what is before the files is made here. Which bytes of which NAR stand in a block, `parts` and their extents say.
 */
import type { StorePath } from "../../protocol/nix/StorePath.ts"
import { SandboxError } from "../SandboxError.ts"
import {
  blockBytes,
  blocksOf,
  buildTime,
  type Entry,
  inodeBytes,
  isLong,
  layDirectory,
  slotBytes,
  writeDirents,
  writeInode
} from "./Layout.ts"
import type { NarImage } from "./NarImage.ts"

export interface Member {
  readonly path: StorePath
  readonly image: NarImage
}

/** The files of one store path: from this block on, as many as its image says. */
export interface Part<M extends Member = Member> {
  readonly firstBlock: number
  readonly member: M
}

export interface Image<M extends Member = Member> {
  readonly metadata: Uint8Array
  /** Those that have files, by their first block. */
  readonly parts: ReadonlyArray<Part<M>>
  readonly sizeBytes: number
}

/** Bytes of inodes and directories that one closure may have: some millions of files. */
export const metadataBytesMax = 512 * 1024 * 1024

/** Blocks are addressed by 32 bits, and the last number says that there is none. */
const blocksMax = 2 ** 32 - 2

const superBlockAt = 1024
const magic = 0xe0f5e1e2
const rootBlock = 1
const rootSlot = (rootBlock * blockBytes) / slotBytes

/** Words that are written in some hundred microseconds. */
const usualStepWords = 256 * 1024

const refused = (detail: string) => new SandboxError({ operation: "composing the store's image", detail })

export const compose = <M extends Member>(members: ReadonlyArray<M>): Image<M> | SandboxError => {
  const composing = steps(members)
  for (;;) {
    const { done, value } = composing.next()
    if (done === true) return value
  }
}

/** The same, in steps of about a millisecond, for who has others waiting. */
export function* steps<M extends Member>(
  members: ReadonlyArray<M>,
  stepWords = usualStepWords
): Generator<undefined, Image<M> | SandboxError> {
  // Store paths are ASCII, whose order is that of their bytes.
  const sorted = [...members].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const twice = sorted.find(({ path }, index) => path === sorted[index + 1]?.path)
  if (twice !== undefined) return refused(`expected each store path once, found ${twice.path} twice`)

  const root = rootOf(sorted)
  const firstMember = rootBlock + 1 + root.whole
  const metadataBlocks = sorted.reduce((sum, { image }) => sum + blocksOf(image.metadata.byteLength), firstMember)
  const fileBlocks = sorted.reduce((sum, { image }) => sum + image.fileBlocks, 0)
  const blocks = metadataBlocks + fileBlocks
  if (metadataBlocks * blockBytes > metadataBytesMax) {
    return refused(`expected at most ${metadataBytesMax} bytes of metadata, found ${metadataBlocks * blockBytes}`)
  }
  if (blocks > blocksMax) return refused(`expected at most ${blocksMax} blocks, found ${blocks}`)

  const words = new Uint32Array((metadataBlocks * blockBytes) / 4)
  const metadata = new Uint8Array(words.buffer)
  const parts: Array<Part<M>> = []
  const slots = new Map<M, number>()
  let at = firstMember
  let fileBlock = metadataBlocks
  let sinceStep = 0
  for (const member of sorted) {
    const { image } = member
    sinceStep += image.metadata.length
    if (sinceStep > stepWords) {
      sinceStep = 0
      yield
    }
    slots.set(member, (at * blockBytes) / slotBytes)
    yield* put(words, image, { block: at, fileBlock, stepWords })
    if (image.fileBlocks > 0) parts.push({ firstBlock: fileBlock, member })
    at += blocksOf(image.metadata.byteLength)
    fileBlock += image.fileBlocks
  }
  writeRoot(metadata, root, slots)
  const inodes = sorted.reduce((sum, { image }) => sum + image.inodes, 1)
  writeSuperBlock(new DataView(words.buffer), { blocks, inodes })
  return { metadata, parts, sizeBytes: blocks * blockBytes }
}

interface Placing {
  readonly block: number
  readonly fileBlock: number
  readonly stepWords: number
}

/** Copies what a NAR contributes to a place of its own, and makes its addresses those of the image. */
function* put(words: Uint32Array, image: NarImage, { block, fileBlock, stepWords }: Placing): Generator<undefined> {
  const from = (block * blockBytes) / 4
  const target = words.subarray(from, from + image.metadata.length)
  for (let at = 0; at < target.length; at += stepWords) {
    target.set(image.metadata.subarray(at, at + stepWords), at)
    if (target.length > stepWords) yield
  }
  yield* add(target, image.slotWords, (block * blockBytes) / slotBytes, stepWords)
  yield* add(target, image.metadataWords, block, stepWords)
  yield* add(target, image.fileWords, fileBlock, stepWords)
  yield* add(target, image.parentWords, rootSlot, stepWords)
}

function* add(words: Uint32Array, at: Uint32Array, value: number, stepWords: number): Generator<undefined> {
  for (let from = 0; from < at.length; from += stepWords) {
    const end = Math.min(at.length, from + stepWords)
    // Plain loops: this is all that is left to do for a closure whose NARs are known.
    for (let index = from; index < end; index++) words[at[index]!]! += value
    if (at.length > stepWords) yield
  }
}

/** The store directory. A null stands for itself, which is its own parent. */
const rootOf = <M extends Member>(sorted: ReadonlyArray<M>) => {
  const entries = sorted.map((member): Entry<M | null> => ({ name: Buffer.from(member.path), target: member }))
  const { blocks, size } = layDirectory(entries, null, null)
  const links = 2 + sorted.filter(({ image }) => image.rootKind === "directory").length
  const inode = inodeBytes(isLong({ links, size }))
  const last = size % blockBytes
  const tail = inode + last > blockBytes ? 0 : last
  return { blocks, size, links, inode, tail, whole: blocksOf(size - tail) }
}

const writeRoot = <M extends Member>(
  bytes: Uint8Array,
  { blocks, inode, links, size, tail, whole }: ReturnType<typeof rootOf<M>>,
  slots: ReadonlyMap<M, number>
): void => {
  const view = new DataView(bytes.buffer)
  const at = rootBlock * blockBytes
  const firstBlock = whole > 0 ? rootBlock + 1 : null
  writeInode(view, at, { kind: "directory", executable: false, size, links, firstBlock, isInline: tail > 0 })
  blocks.forEach((entries, block) =>
    writeDirents(bytes, view, block < whole ? (rootBlock + 1 + block) * blockBytes : at + inode, entries, (member) =>
      member === null
        ? { slot: rootSlot, kind: "directory" }
        : { slot: slots.get(member) ?? 0, kind: member.image.rootKind }
    )
  )
}

const writeSuperBlock = (view: DataView, of: { readonly blocks: number; readonly inodes: number }): void => {
  view.setUint32(superBlockAt, magic, true)
  view.setUint8(superBlockAt + 12, Math.log2(blockBytes))
  view.setUint16(superBlockAt + 14, rootSlot, true)
  view.setUint32(superBlockAt + 16, of.inodes, true)
  view.setUint32(superBlockAt + 24, buildTime, true)
  view.setUint32(superBlockAt + 36, of.blocks, true)
  // Slots are counted from block 0, so the address of the first block with inodes stays zero.
}
