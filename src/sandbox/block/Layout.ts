/**
 * EROFS on disk: sizes, and how inodes and directory entries are written.
 *
 * Everything is little-endian. An inode is found by its number, the address of its 32-byte slot; what its file holds
 * lies in blocks from an address on, or, for its last part, right after the inode and within the same block.
 *
 * A directory is a sequence of blocks, each of them entries and then their names. Entries are sorted by the bytes of
 * their names over the whole directory, `.` and `..` among them, since they are found by bisection.
 *
 * @see Linux `fs/erofs/erofs_fs.h`
 */

export const blockBytes = 4096

/** Inode numbers count these. */
export const slotBytes = 32

/** An inode is one slot, or two where a number does not fit the short form. */
export const inodeBytes = (isLong: boolean): number => (isLong ? 2 * slotBytes : slotBytes)

export const direntBytes = 12

export const blocksOf = (bytes: number): number => Math.ceil(bytes / blockBytes)

export type Kind = "regular" | "directory" | "symlink"

const formats = {
  regular: { type: 1, mode: 0o100444 },
  directory: { type: 2, mode: 0o040555 },
  symlink: { type: 7, mode: 0o120777 }
} as const

/** Stands where there is no block. */
const noBlock = 0xffff_ffff

export interface Inode {
  readonly kind: Kind
  readonly executable: boolean
  /** Bytes. */
  readonly size: number
  readonly links: number
  /** Where its whole blocks begin; null if it has none. */
  readonly firstBlock: number | null
  /** The last part of its contents stands after it. */
  readonly isInline: boolean
}

/** Beyond these the short form cannot say it. */
export const isLong = ({ links, size }: Pick<Inode, "links" | "size">): boolean => size > 0xffff_ffff || links > 0xffff

/** Where in an inode the address of its first block stands. */
export const firstBlockAt = 16

/** Owner and group are 0; the time is that of the whole image. */
export const writeInode = (view: DataView, at: number, inode: Inode): void => {
  const long = isLong(inode)
  const { mode } = formats[inode.kind]
  view.setUint16(at, (inode.isInline ? 4 : 0) | (long ? 1 : 0), true)
  view.setUint16(at + 4, inode.executable ? mode | 0o111 : mode, true)
  view.setUint32(at + firstBlockAt, inode.firstBlock ?? noBlock, true)
  if (long) {
    view.setUint32(at + 8, inode.size % 2 ** 32, true)
    view.setUint32(at + 12, Math.floor(inode.size / 2 ** 32), true)
    // The seconds, which only the long form has.
    view.setUint32(at + 32, buildTime, true)
    view.setUint32(at + 44, inode.links, true)
  } else {
    view.setUint16(at + 6, inode.links, true)
    view.setUint32(at + 8, inode.size, true)
  }
}

/** What Nix gives every file: the second after the epoch, which no tool takes for "unknown". */
export const buildTime = 1

/** An entry of a directory, `.` and `..` included. */
export interface Entry<Target> {
  readonly name: Uint8Array
  readonly target: Target
}

export interface DirectoryLayout<Target> {
  /** By block, in order. */
  readonly blocks: ReadonlyArray<ReadonlyArray<Entry<Target>>>
  /** Bytes: all blocks but the last are counted whole. */
  readonly size: number
}

const dot = Buffer.from(".")
const dots = Buffer.from("..")

/** Cuts a directory into blocks. `entries` are sorted by their bytes. */
export const layDirectory = <Target>(
  entries: ReadonlyArray<Entry<Target>>,
  self: Target,
  parent: Target
): DirectoryLayout<Target> => {
  const sorted = [...entries]
  for (const special of [
    { name: dot, target: self },
    { name: dots, target: parent }
  ]) {
    const after = sorted.findIndex(({ name }) => Buffer.compare(name, special.name) > 0)
    sorted.splice(after < 0 ? sorted.length : after, 0, special)
  }
  const blocks: Array<Array<Entry<Target>>> = []
  let used = blockBytes
  for (const entry of sorted) {
    const bytes = direntBytes + entry.name.length
    if (used + bytes > blockBytes) {
      blocks.push([])
      used = 0
    }
    blocks.at(-1)?.push(entry)
    used += bytes
  }
  return { blocks, size: (blocks.length - 1) * blockBytes + used }
}

/** Writes one block of a directory. `place` says which inode a target is, and of which kind. */
export const writeDirents = <Target>(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  entries: ReadonlyArray<Entry<Target>>,
  place: (target: Target, at: number) => { readonly slot: number; readonly kind: Kind }
): void => {
  let entryAt = at
  let nameAt = entries.length * direntBytes
  for (const { name, target } of entries) {
    const { kind, slot } = place(target, entryAt)
    // The upper half of the number stays zero: 32 bits of slots are 128 GiB of inodes.
    view.setUint32(entryAt, slot, true)
    view.setUint16(entryAt + 8, nameAt, true)
    view.setUint8(entryAt + 10, formats[kind].type)
    bytes.set(name, at + nameAt)
    nameAt += name.length
    entryAt += direntBytes
  }
}
