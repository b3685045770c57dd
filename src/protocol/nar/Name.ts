/**
 * Names and targets in a NAR as text, and back.
 *
 * They are bytes, mostly UTF-8. A byte that is no part of a character becomes the lone surrogate U+DC00 + byte, which
 * UTF-8 cannot stand for, so that every name has one text and no two names the same. (Python calls it surrogateescape.)
 */
import { isUtf8 } from "node:buffer"

export const toText = (bytes: Uint8Array): string => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return isUtf8(buffer) ? buffer.toString() : escaped(buffer)
}

/** Null where the text is nobody's: other lone surrogates, or escapes of what would have been a character. */
export const toBytes = (text: string): Uint8Array | null => {
  if (text.isWellFormed()) return Buffer.from(text)
  const parts: Array<Uint8Array> = []
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    if (code < 0xd800 || code > 0xdfff) parts.push(Buffer.from(character))
    else if (code >= 0xdc80 && code <= 0xdcff) parts.push(Uint8Array.of(code - 0xdc00))
    else return null
  }
  const bytes = Buffer.concat(parts)
  return toText(bytes) === text ? bytes : null
}

/** The order of the bytes, which is not that of JavaScript's strings. */
export const compare = (a: string, b: string): number => {
  // Below the surrogates both orders are the same, and nearly every name is.
  if (!beyond.test(a) && !beyond.test(b)) return a < b ? -1 : a > b ? 1 : 0
  return Buffer.compare(toBytes(a) ?? Buffer.from(a), toBytes(b) ?? Buffer.from(b))
}

const beyond = /[\ud800-\uffff]/

const escaped = (bytes: Buffer): string => {
  let text = ""
  for (let index = 0; index < bytes.length;) {
    const lead = bytes[index] ?? 0
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    const isCharacter = index + length <= bytes.length && isUtf8(bytes.subarray(index, index + length))
    text += isCharacter ? bytes.toString("utf8", index, index + length) : String.fromCharCode(0xdc00 + lead)
    index += isCharacter ? length : 1
  }
  return text
}
