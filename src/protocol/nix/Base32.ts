/**
 * Nix's base 32: another alphabet than RFC 4648's, no padding, and the bytes from the end.
 *
 * The bytes are read as one little-endian number and written with its highest digit first, so the last
 * bytes come first. 20 bytes are 32 characters, 32 bytes are 52 of which the first holds one bit only.
 *
 * @see Nix `src/libutil/base-nix-32.cc`
 */
import { WireError } from "../wire/Codec.ts"

/** No e, o, u, t: so that fewer words come out that nobody wants to read. */
export const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

const values: ReadonlyMap<string, number> = new Map(Array.from(alphabet, (character, value) => [character, value]))

/** How many characters so many bytes take. */
export const lengthOf = (bytes: number): number => Math.ceil((bytes * 8) / 5)

export const encode = (bytes: Uint8Array): string => {
  let text = ""
  for (let digit = lengthOf(bytes.length) - 1; digit >= 0; digit--) {
    const bit = digit * 5
    const word = (bytes[bit >> 3] ?? 0) | ((bytes[(bit >> 3) + 1] ?? 0) << 8)
    text += alphabet.charAt((word >> (bit & 7)) & 31)
  }
  return text
}

/** Strict: exactly the characters that `encode` writes for some bytes. */
export const decode = (text: string): Uint8Array | WireError => {
  const size = Math.floor((text.length * 5) / 8)
  if (lengthOf(size) !== text.length) {
    return new WireError({ expected: "nixbase32 of whole bytes", found: `${text.length} characters` })
  }
  const bytes = new Uint8Array(size)
  for (let digit = 0; digit < text.length; digit++) {
    const character = text.charAt(text.length - 1 - digit)
    const value = values.get(character)
    if (value === undefined)
      return new WireError({ expected: "a nixbase32 character", found: JSON.stringify(character) })
    const index = (digit * 5) >> 3
    const word = value << ((digit * 5) & 7)
    bytes[index] = (bytes[index] ?? 0) | (word & 0xff)
    // Writing past the end is without effect, so what does not fit is looked at here.
    if (word > 0xff && index + 1 >= size) {
      return new WireError({ expected: "nixbase32 of whole bytes", found: "bits beyond the last byte" })
    }
    if (word > 0xff) bytes[index + 1] = word >> 8
  }
  return bytes
}
