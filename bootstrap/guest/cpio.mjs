/**
 * Writes what the kernel unpacks as its first file system: a cpio of the kind "newc".
 *
 * Names are sorted, times are 0, owners are root and inodes count from 1, so the same entries are the same bytes.
 *
 * @see https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
 */

const types = { directory: 0o040000, file: 0o100000, device: 0o020000 }

const hex = (value) => value.toString(16).padStart(8, "0").toUpperCase()

const pad = (bytes) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])

/** One entry: thirteen numbers in hexadecimal, the name, the contents, the latter two from multiples of four on. */
const record = (inode, { name, type, mode, contents = Buffer.alloc(0), major = 0, minor = 0 }) => {
  const words = Buffer.from(`${name}\0`)
  const numbers = [inode, mode | (types[type] ?? 0), 0, 0, 1, 0, contents.length, 0, 0, major, minor, words.length, 0]
  return [pad(Buffer.concat([Buffer.from(`070701${numbers.map(hex).join("")}`), words])), pad(contents)]
}

/** `{ name, type: "directory" | "file" | "device", mode, contents?, major?, minor? }`; parents come before children. */
export const cpio = (entries) => {
  const sorted = [...entries].sort((one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)))
  const end = { name: "TRAILER!!!", mode: 0 }
  return Buffer.concat([...sorted.flatMap((entry, index) => record(index + 1, entry)), ...record(0, end)])
}
