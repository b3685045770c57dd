/**
 * Writes NARs: of a single file around contents that are streamed, and of a whole tree by its listing.
 *
 * The listing says what is there, in whichever order; contents are asked for file by file, in the order of the NAR.
 */
import { WireError } from "../wire/Codec.ts"
import * as Grammar from "./Grammar.ts"
import { entriesOf, type Listing, type Regular } from "./Listing.ts"
import * as Name from "./Name.ts"

/** What a NAR of one regular file has before its contents. */
export const fileHead = (size: number, executable = false): Uint8Array =>
  Buffer.concat([Grammar.word(Grammar.magic), regular(size, executable)])

/** And after them. */
export const fileTail = (size: number): Uint8Array =>
  Buffer.concat([new Uint8Array(Grammar.padding(size)), Grammar.word(")")])

/** A NAR of one regular file, contents and all: for texts, derivations among them. */
export const file = (contents: Uint8Array, executable = false): Uint8Array =>
  Buffer.concat([fileHead(contents.length, executable), contents, fileTail(contents.length)])

/** Bytes of the NAR of one regular file. */
export const fileSize = (size: number, executable = false): number =>
  fileHead(0, executable).length + size + fileTail(size).length

/** A NAR, in pieces. `contents` gives exactly the bytes of a file; where its listing says otherwise, it is refused. */
export function* tree(listing: Listing, contents: (file: Regular) => Iterable<Uint8Array>): Generator<Uint8Array> {
  yield Grammar.word(Grammar.magic)
  // What is still to be written, the next one last: nodes, and words that come after them.
  const pending: Array<Listing | Uint8Array> = [listing]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next instanceof Uint8Array) {
      yield next
      continue
    }
    switch (next.type) {
      case "regular":
        yield regular(next.size, next.executable)
        yield* exactly(next.size, contents(next))
        yield fileTail(next.size)
        break
      case "symlink":
        yield words("(", "type", "symlink", "target", bytesOf(next.target), ")")
        break
      case "directory":
        yield words("(", "type", "directory")
        pending.push(words(")"))
        for (const [name, entry] of entriesOf(next).toReversed()) {
          pending.push(words(")"), entry, words("entry", "(", "name", bytesOf(name), "node"))
        }
        break
    }
  }
}

const words = (...values: ReadonlyArray<string | Uint8Array>) => Buffer.concat(values.map(Grammar.word))

const regular = (size: number, executable: boolean): Uint8Array => {
  const length = new Uint8Array(8)
  new DataView(length.buffer).setBigUint64(0, BigInt(size), true)
  const flag = executable ? ["executable", ""] : []
  return Buffer.concat([words("(", "type", "regular", ...flag, "contents"), length])
}

function* exactly(size: number, chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
  let found = 0
  for (const chunk of chunks) {
    found += chunk.length
    if (found > size) break
    yield chunk
  }
  if (found !== size)
    throw new WireError({ expected: `a file of ${size} bytes`, found: found > size ? "more" : `${found}` })
}

const bytesOf = (text: string): Uint8Array => {
  const bytes = Name.toBytes(text)
  if (bytes === null) throw new WireError({ expected: "a name that stands for bytes", found: JSON.stringify(text) })
  return bytes
}
