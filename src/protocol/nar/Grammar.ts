/**
 * The words of a NAR, and how much of anything there may be.
 *
 *   nar       = "nix-archive-1" node
 *   node      = "(" "type" (regular | symlink | directory) ")"
 *   regular   = "regular" [ "executable" "" ] "contents" bytes
 *   symlink   = "symlink" "target" bytes
 *   directory = "directory" { "entry" "(" "name" bytes "node" node ")" }
 *
 * Every word, quoted or not, is a byte string of the wire: its length as `u64`, the bytes, zeros up to a multiple of
 * eight. Entries are in strictly increasing order of their names' bytes, so one tree has one NAR.
 *
 * Nothing else of a file is kept: no owner, no times, no permissions but one, no hard links.
 *
 * @see Nix `doc/manual/source/protocols/nix-archive/index.md`
 */

export const magic = "nix-archive-1"

/** Directories within each other. Nix has the same bound since 2.35; before, it would run out of stack. */
export const depthMax = 64

/** Bytes of a name: Linux takes no longer ones. */
export const nameBytesMax = 255

/** Bytes of a symlink's target: `PATH_MAX` without its zero. */
export const targetBytesMax = 4095

/** Files, directories and symlinks in one NAR: what is listed is held in memory. */
export const entriesMax = 1_000_000

/** How many zeros follow so many bytes. */
export const padding = (length: number): number => -length & 7

/** Bytes that a word takes. */
export const wordSize = (length: number): number => 8 + length + padding(length)

/** A word as it stands in a NAR. */
export const word = (value: string | Uint8Array): Uint8Array => {
  const bytes = typeof value === "string" ? Buffer.from(value) : value
  const encoded = new Uint8Array(wordSize(bytes.length))
  new DataView(encoded.buffer).setBigUint64(0, BigInt(bytes.length), true)
  encoded.set(bytes, 8)
  return encoded
}

/** Whether a directory may hold something by this name. */
export const isName = (name: Uint8Array): boolean =>
  name.length > 0 &&
  name.length <= nameBytesMax &&
  !name.includes(slash) &&
  !name.includes(0) &&
  !(name[0] === dot && (name.length === 1 || (name.length === 2 && name[1] === dot)))

/** Whether a symlink may point there. */
export const isTarget = (target: Uint8Array): boolean =>
  target.length > 0 && target.length <= targetBytesMax && !target.includes(0)

const slash = 0x2f
const dot = 0x2e
