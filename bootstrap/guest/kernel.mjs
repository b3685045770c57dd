/**
 * A kernel as QEMU boots it fastest: without its own decompressor.
 *
 * On x86 a distribution's kernel is a setup part, then a small program that carries the kernel compressed; the setup's
 * header says where. On Arm it is bare already, or an EFI program with a like header.
 *
 * @see https://docs.kernel.org/arch/x86/boot.html
 */
import { refuse } from "../say.mjs"

const setupMark = { offset: 0x202, text: "HdrS" }
const zbootMark = { offset: 4, text: "zimg" }
const armMark = { offset: 0x38, text: "ARMd" }

const has = (bytes, { offset, text }) => bytes.subarray(offset, offset + text.length).toString("latin1") === text

/** How compressed data begins, and the program that makes it plain again. */
const compressions = [
  { magic: "02214c18", argv: ["lz4", "-dc"] },
  { magic: "28b52ffd", argv: ["zstd", "-dc"] },
  { magic: "fd377a58", argv: ["xz", "-dc"] },
  { magic: "1f8b", argv: ["gzip", "-dc"] }
]

/** The compressed kernel within its wrapping, or null where there is none. */
export const payload = (image) => {
  if (has(image, setupMark)) {
    const setupSectors = image[0x1f1] || 4
    const start = (setupSectors + 1) * 512 + image.readUInt32LE(0x248)
    return image.subarray(start, start + image.readUInt32LE(0x24c))
  }
  if (has(image, zbootMark)) {
    const start = image.readUInt32LE(8)
    return image.subarray(start, start + image.readUInt32LE(12))
  }
  return has(image, armMark) ? null : refuse("expected a kernel for x86 or Arm, found something else")
}

/** Which program decompresses it, and what it is to be given: what follows the data is the size of the kernel. */
export const compression = (bytes) => {
  const magic = bytes.subarray(0, 4).toString("hex")
  const found = compressions.find((each) => magic.startsWith(each.magic))
  if (found === undefined) return refuse(`expected a kernel compressed in a known way, found one that begins ${magic}`)
  // gzip has its size itself.
  const trailer = found.argv[0] === "gzip" ? 0 : 4
  return { argv: found.argv, data: bytes.subarray(0, bytes.length - trailer) }
}

/** The kernel alone. `run` gives what a program makes of its input. */
export const bareKernel = (image, run) => {
  const packed = payload(image)
  if (packed === null) return image
  const { argv, data } = compression(packed)
  return run(argv, data)
}
