/**
 * Reads an EROFS image as the kernel would, by its own account of the format, and tells what is in it.
 *
 * It asserts what the kernel relies on: addresses within the image, sorted names, what stands after an inode within its
 * block.
 */
import { assert } from "@effect/vitest"
import * as Name from "../../src/protocol/nar/Name.ts"

export type Found =
  | { readonly type: "regular"; readonly executable: boolean; readonly contents: string }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "directory"; readonly entries: { readonly [name: string]: Found } }

const block = 4096

interface Inode {
  readonly nid: number
  readonly mode: number
  readonly links: number
  readonly size: number
  readonly bytes: Buffer
}

const inodeOf = (image: Buffer, nid: number): Inode => {
  const at = nid * 32
  const format = image.readUInt16LE(at)
  const isLong = (format & 1) === 1
  const layout = format >> 1
  assert.include([0, 2], layout, "flat, or flat with its end after the inode")
  assert.strictEqual(image.readUInt16LE(at + 2), 0, "no extended attributes")
  const size = isLong ? Number(image.readBigUInt64LE(at + 8)) : image.readUInt32LE(at + 8)
  const from = image.readUInt32LE(at + 16) * block
  const after = at + (isLong ? 64 : 32)
  const whole = layout === 2 ? Math.floor((size - 1) / block) * block : size
  const rest = size - whole
  assert.isAtMost((after % block) + rest, block, "what stands after an inode is within its block")
  const blocks = whole > 0 ? image.subarray(from, from + whole) : Buffer.alloc(0)
  assert.lengthOf(blocks, whole, "blocks within the image")
  return {
    nid,
    mode: image.readUInt16LE(at + 4),
    links: isLong ? image.readUInt32LE(at + 44) : image.readUInt16LE(at + 6),
    size,
    bytes: Buffer.concat([blocks, image.subarray(after, after + rest)])
  }
}

interface Dirent {
  readonly name: Buffer
  readonly nid: number
  readonly kind: number
}

const direntsOf = ({ bytes }: Inode): ReadonlyArray<Dirent> => {
  const all: Array<Dirent> = []
  for (let at = 0; at < bytes.length; at += block) {
    const one = bytes.subarray(at, at + block)
    const count = one.readUInt16LE(8) / 12
    for (let index = 0; index < count; index++) {
      const from = one.readUInt16LE(index * 12 + 8)
      const to = index + 1 < count ? one.readUInt16LE(index * 12 + 20) : one.length
      const name = one.subarray(from, to)
      const zero = name.indexOf(0)
      all.push({
        name: zero < 0 ? name : name.subarray(0, zero),
        nid: Number(one.readBigUInt64LE(index * 12)),
        kind: one[index * 12 + 10]!
      })
    }
  }
  for (let index = 1; index < all.length; index++) {
    assert.isBelow(Buffer.compare(all[index - 1]!.name, all[index]!.name), 0, "names are sorted by their bytes")
  }
  return all
}

const kinds: { readonly [type: number]: number } = { 0o100000: 1, 0o040000: 2, 0o120000: 7 }

/** What the root directory holds, and how many inodes there are. */
export const read = (
  image: Buffer
): { readonly entries: { readonly [name: string]: Found }; readonly inodes: number } => {
  assert.strictEqual(image.readUInt32LE(1024), 0xe0f5e1e2)
  assert.strictEqual(image[1024 + 12], 12)
  assert.strictEqual(image.readUInt32LE(1024 + 36) * block, image.length, "as long as it says")
  let inodes = 0

  const walk = (nid: number, parent: number): Found => {
    const inode = inodeOf(image, nid)
    inodes++
    switch (inode.mode) {
      case 0o100444:
      case 0o100555:
        assert.strictEqual(inode.links, 1)
        return { type: "regular", executable: inode.mode === 0o100555, contents: inode.bytes.toString("latin1") }
      case 0o120777:
        return { type: "symlink", target: Name.toText(inode.bytes) }
      case 0o040555: {
        const entries: { [name: string]: Found } = Object.create(null)
        let directories = 0
        for (const { kind, name, nid: child } of direntsOf(inode)) {
          const text = Name.toText(name)
          const mode = inodeOf(image, child).mode
          assert.strictEqual(kind, kinds[mode & 0o170000], `the kind of ${text}`)
          if (kind === 2) directories++
          if (text === ".") assert.strictEqual(child, nid)
          else if (text === "..") assert.strictEqual(child, parent)
          else entries[text] = walk(child, nid)
        }
        assert.strictEqual(inode.links, directories)
        return { type: "directory", entries }
      }
      default:
        throw new Error(`expected the mode of a store's file, found ${inode.mode.toString(8)}`)
    }
  }

  const root = image.readUInt16LE(1024 + 14)
  const found = walk(root, root)
  assert.strictEqual(Number(image.readBigUInt64LE(1024 + 16)), inodes, "as many inodes as it says")
  return { entries: found.type === "directory" ? found.entries : {}, inodes }
}
