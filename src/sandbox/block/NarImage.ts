/**
 * What one NAR contributes to an image: its inodes and directories, made once, and put wherever there is room.
 *
 * Addresses in it count from its own beginning, and it remembers where they stand; to place it is to copy it and add to
 * them. Files themselves are not in it. Each of their blocks is given an address, and `extents` says which bytes of the
 * NAR stand there.
 *
 * Inodes are laid out breadth first, so that those of one directory are neighbours: to list it reads few blocks.
 */
import { entriesOf, type Listing } from "../../protocol/nar/Listing.ts"
import * as Name from "../../protocol/nar/Name.ts"
import { WireError } from "../../protocol/wire/Codec.ts"
import {
  blockBytes,
  blocksOf,
  type DirectoryLayout,
  type Entry,
  firstBlockAt,
  inodeBytes,
  isLong,
  type Kind,
  layDirectory,
  slotBytes,
  writeDirents,
  writeInode
} from "./Layout.ts"

/** Files in order: the block that each begins at, counted from the NAR's first, and its bytes in the NAR. */
export interface Extents {
  readonly firstBlocks: Uint32Array
  readonly narOffsets: Float64Array
  readonly sizes: Float64Array
}

export interface NarImage {
  /** Whole blocks. The first slot is the inode of the NAR's root. */
  readonly metadata: Uint32Array
  /** Words of it that are slots, blocks of metadata, and blocks of files. */
  readonly slotWords: Uint32Array
  readonly metadataWords: Uint32Array
  readonly fileWords: Uint32Array
  /** Words that say where the root's parent is. */
  readonly parentWords: Uint32Array
  readonly rootKind: Kind
  readonly inodes: number
  readonly fileBlocks: number
  readonly extents: Extents
  /** What it takes in memory. */
  readonly bytes: number
}

interface Node {
  readonly listing: Listing
  readonly name: Uint8Array
  /** Null for the root, whose parent is outside. */
  readonly parent: Node | null
  /** What stands in blocks or after the inode. */
  contents: DirectoryLayout<Node | null> | Uint8Array | null
  /** Bytes. */
  size: number
  links: number
  /** Where the inode is, from the beginning, and its bytes. */
  at: number
  inode: number
  /** Bytes that stand after it, and whole blocks of what does not. */
  tail: number
  whole: number
}

export const compose = (root: Listing): NarImage => {
  const nodes = flatten(root)
  const inodesBytes = place(nodes)
  return write(nodes, inodesBytes)
}

const bytesOf = (text: string): Uint8Array => {
  const bytes = Name.toBytes(text)
  if (bytes === null) throw new WireError({ expected: "a name that stands for bytes", found: JSON.stringify(text) })
  return bytes
}

const flatten = (root: Listing): ReadonlyArray<Node> => {
  const nodeOf = (listing: Listing, name: Uint8Array, parent: Node | null): Node => ({
    listing,
    name,
    parent,
    contents: null,
    size: listing.type === "regular" ? listing.size : 0,
    links: listing.type === "directory" ? 2 : 1,
    at: 0,
    inode: 0,
    tail: 0,
    whole: 0
  })
  const nodes = [nodeOf(root, new Uint8Array(0), null)]
  // It grows as it is walked.
  for (const node of nodes) {
    const { listing } = node
    if (listing.type === "symlink") {
      node.contents = bytesOf(listing.target)
      node.size = node.contents.length
    } else if (listing.type === "directory") {
      const children = entriesOf(listing).map(([name, entry]) => nodeOf(entry, bytesOf(name), node))
      const entries = children.map((child): Entry<Node | null> => ({ name: child.name, target: child }))
      node.contents = layDirectory(entries, node, node.parent)
      node.size = node.contents.size
      for (const child of children) {
        if (child.listing.type === "directory") node.links++
        nodes.push(child)
      }
    }
  }
  return nodes
}

/**
 * Gives every inode its slots. What stands after it, all of a symlink or the last block of a directory, is within the
 * same block; what does not fit stands in blocks. Returns where the last inode ends.
 */
const place = (nodes: ReadonlyArray<Node>): number => {
  let end = 0
  for (const node of nodes) {
    const tail = node.contents === null ? 0 : node.size % blockBytes
    node.inode = inodeBytes(isLong(node))
    node.tail = node.inode + tail > blockBytes ? 0 : tail
    node.whole = node.contents === null ? 0 : blocksOf(node.size - node.tail)
    const bytes = node.inode + node.tail
    const room = blockBytes - (end % blockBytes)
    if (bytes > room) end += room
    node.at = end
    end += Math.ceil(bytes / slotBytes) * slotBytes
  }
  return end
}

const write = (nodes: ReadonlyArray<Node>, inodesBytes: number): NarImage => {
  const inodeBlocks = blocksOf(inodesBytes)
  const metadataBlocks = nodes.reduce((sum, node) => sum + node.whole, inodeBlocks)
  const metadata = new Uint32Array((metadataBlocks * blockBytes) / 4)
  const bytes = new Uint8Array(metadata.buffer)
  const view = new DataView(metadata.buffer)

  const words = { slot: new Array<number>(), metadata: new Array<number>(), file: new Array<number>() }
  const parentWords: Array<number> = []
  const files = nodes.flatMap(({ listing }) => (listing.type === "regular" && listing.size > 0 ? [listing] : []))
  const firstBlocks = new Uint32Array(files.length)
  let fileBlocks = 0
  let fileCount = 0
  let nextBlock = inodeBlocks

  for (const node of nodes) {
    const { at, contents, inode, links, listing, size, tail, whole } = node
    const word = (at + firstBlockAt) / 4
    let firstBlock: number | null = null
    if (listing.type === "regular" && size > 0) {
      firstBlock = fileBlocks
      words.file.push(word)
      firstBlocks[fileCount++] = fileBlocks
      fileBlocks += blocksOf(size)
    } else if (whole > 0) {
      firstBlock = nextBlock
      words.metadata.push(word)
      nextBlock += whole
    }
    writeInode(view, at, {
      kind: listing.type,
      executable: listing.type === "regular" && listing.executable,
      size,
      links,
      firstBlock,
      isInline: tail > 0
    })

    const addressOf = (block: number) => (block < whole ? (firstBlock! + block) * blockBytes : at + inode)
    if (contents instanceof Uint8Array) bytes.set(contents, addressOf(0))
    else if (contents !== null) {
      contents.blocks.forEach((entries, block) =>
        writeDirents(bytes, view, addressOf(block), entries, (target, entryAt) => {
          const within = target === null ? parentWords : words.slot
          within.push(entryAt / 4)
          return target === null
            ? { slot: 0, kind: "directory" }
            : { slot: target.at / slotBytes, kind: target.listing.type }
        })
      )
    }
  }

  const image = {
    metadata,
    slotWords: Uint32Array.from(words.slot),
    metadataWords: Uint32Array.from(words.metadata),
    fileWords: Uint32Array.from(words.file),
    parentWords: Uint32Array.from(parentWords),
    extents: {
      firstBlocks,
      narOffsets: Float64Array.from(files, ({ narOffset }) => narOffset),
      sizes: Float64Array.from(files, ({ size }) => size)
    }
  }
  return {
    ...image,
    rootKind: nodes[0]!.listing.type,
    inodes: nodes.length,
    fileBlocks,
    bytes: bytesIn(image)
  }
}

const bytesIn = ({ extents, ...image }: Pick<NarImage, "extents" | "metadata" | "slotWords" | "fileWords">): number =>
  [...Object.values(image), ...Object.values(extents)].reduce((sum, array) => sum + array.byteLength, 0)
