/**
 * Reads a NAR as its bytes come, and tells a visitor what is in it.
 *
 * It takes chunks of any size, keeps at most one name or target of them, and knows itself where the NAR ends: what
 * follows is left to whoever reads next. Whatever Nix would not have written is refused, so a NAR that has been read
 * to its end is the one NAR of its tree.
 *
 *   const reader = new Reader(visitor)
 *   while (!reader.done) source.advance(reader.push(…))
 *
 * What is refused is thrown as `WireError`; after that the reader is of no more use. Nothing is checked of what
 * contents hold, and nothing hashed.
 */
import { WireError } from "../wire/Codec.ts"
import * as Grammar from "./Grammar.ts"

/** Told what is in a NAR, in its order. Names are null for the root. Names and targets are the visitor's to keep. */
export interface Visitor {
  readonly directory: (name: Uint8Array | null) => void
  readonly directoryEnd: () => void
  /** `size` bytes of contents follow, and begin at `narOffset`. */
  readonly file: (name: Uint8Array | null, file: FileHead) => void
  /** Some of them, never none. The chunk is lent for the call only. */
  readonly contents: (chunk: Uint8Array) => void
  readonly fileEnd: () => void
  readonly symlink: (name: Uint8Array | null, target: Uint8Array) => void
}

export interface FileHead {
  readonly executable: boolean
  /** Bytes. */
  readonly size: number
  readonly narOffset: number
}

/** What the next word may be. */
type Expected =
  | "magic"
  | "open"
  | "type"
  | "kind"
  | "executable or contents"
  | "executable's nothing"
  | "contents"
  | "contents' bytes"
  | "close"
  | "target"
  | "target's bytes"
  | "entry or close"
  | "entry's open"
  | "name"
  | "name's bytes"
  | "node"
  | "entry's close"

/** Longest word that is expected, where it is not a keyword. */
const lengthsMax: { readonly [E in Expected]?: number } = {
  "name's bytes": Grammar.nameBytesMax,
  "target's bytes": Grammar.targetBytesMax,
  "contents' bytes": Number.MAX_SAFE_INTEGER
}

const keywordLengthMax = Grammar.magic.length

export class Reader {
  /** Whether the NAR has ended. */
  done = false
  /** Bytes read so far: the NAR's size once it is done. */
  size = 0

  readonly #visitor: Partial<Visitor>
  /** The last name in each open directory. */
  readonly #open: Array<Uint8Array | null> = []
  #expected: Expected = "magic"
  #entries = 0
  #name: Uint8Array | null = null
  #executable = false
  /** Bytes of contents to come. */
  #remaining = 0

  /** What is read next, when it is not contents: a length, a word with its padding, or the padding of contents. */
  #part: "length" | "word" | "padding" = "length"
  #length = 0
  #need = 8
  /** The beginning of it, when it came in an earlier chunk. A copy: chunks are reused by those who lend them. */
  readonly #kept = Buffer.alloc(Grammar.targetBytesMax + 8)
  #keptLength = 0

  constructor(visitor: Partial<Visitor> = {}) {
    this.#visitor = visitor
  }

  /** Reads on. Returns how many bytes belong to the NAR: fewer than there are only when it has ended. */
  push(chunk: Uint8Array): number {
    const before = this.size
    let offset = 0
    while (offset < chunk.length && !this.done) {
      if (this.#remaining > 0) {
        const contents = chunk.subarray(offset, offset + this.#remaining)
        offset += contents.length
        this.#remaining -= contents.length
        this.size = before + offset
        this.#visitor.contents?.(contents)
        if (this.#remaining === 0) this.#contentsEnded()
        continue
      }
      const missing = this.#need - this.#keptLength
      const available = Math.min(missing, chunk.length - offset)
      const isWhole = available === missing
      if (isWhole && this.#keptLength === 0) {
        this.size = before + offset + this.#need
        this.#take(chunk, offset)
      } else {
        this.#kept.set(chunk.subarray(offset, offset + available), this.#keptLength)
        this.#keptLength += available
        this.size = before + offset + available
        if (isWhole) {
          this.#keptLength = 0
          this.#take(this.#kept, 0)
        }
      }
      offset += available
    }
    return offset
  }

  /** To be called when there are no more bytes: refuses a NAR that is not done. */
  end(): void {
    if (this.done) return
    throw new WireError({
      expected: `the rest of a NAR (${this.#expected})`,
      found: `the end after ${this.size} bytes`
    })
  }

  /** Takes the `#need` bytes at `offset`. */
  #take(bytes: Uint8Array, offset: number): void {
    switch (this.#part) {
      case "length": {
        this.#length = this.#lengthAt(bytes, offset)
        if (this.#expected === "contents' bytes") return this.#contentsBegin()
        if (this.#length === 0) return this.#word(bytes, offset)
        this.#part = "word"
        this.#need = this.#length + Grammar.padding(this.#length)
        return
      }
      case "word": {
        checkZero(bytes, offset + this.#length, offset + this.#need)
        this.#part = "length"
        this.#need = 8
        return this.#word(bytes, offset)
      }
      case "padding": {
        checkZero(bytes, offset, offset + this.#need)
        this.#part = "length"
        this.#need = 8
        return this.#fileEnded()
      }
    }
  }

  #lengthAt(bytes: Uint8Array, offset: number): number {
    const length = u32(bytes, offset) + u32(bytes, offset + 4) * 2 ** 32
    const max = lengthsMax[this.#expected] ?? keywordLengthMax
    // Beyond 2^53 the sum is not exact, but it is still too much.
    if (length > max) {
      throw new WireError({ expected: `${this.#expected} of at most ${max} bytes in a NAR`, found: `${length} bytes` })
    }
    return length
  }

  /** The grammar: one word of `#length` bytes, and what may follow it. */
  #word(bytes: Uint8Array, offset: number): void {
    switch (this.#expected) {
      case "magic":
        return this.#keyword(bytes, offset, Grammar.magic, "open")
      case "open":
        return this.#keyword(bytes, offset, "(", "type")
      case "type":
        return this.#keyword(bytes, offset, "type", "kind")
      case "kind":
        return this.#node(bytes, offset)
      case "executable or contents":
        if (!this.#is(bytes, offset, "executable")) return this.#keyword(bytes, offset, "contents", "contents' bytes")
        this.#executable = true
        this.#expected = "executable's nothing"
        return
      case "executable's nothing":
        return this.#keyword(bytes, offset, "", "contents")
      case "contents":
        return this.#keyword(bytes, offset, "contents", "contents' bytes")
      case "target":
        return this.#keyword(bytes, offset, "target", "target's bytes")
      case "target's bytes":
        return this.#pointed(copyOf(bytes, offset, this.#length))
      case "close":
        this.#keyword(bytes, offset, ")", "entry's close")
        return this.#nodeEnded()
      case "entry or close":
        if (this.#is(bytes, offset, "entry")) {
          this.#expected = "entry's open"
          return
        }
        this.#keyword(bytes, offset, ")", "entry's close")
        this.#open.pop()
        this.#visitor.directoryEnd?.()
        return this.#nodeEnded()
      case "entry's open":
        return this.#keyword(bytes, offset, "(", "name")
      case "name":
        return this.#keyword(bytes, offset, "name", "name's bytes")
      case "name's bytes":
        return this.#named(copyOf(bytes, offset, this.#length))
      case "node":
        return this.#keyword(bytes, offset, "node", "open")
      case "entry's close":
        return this.#keyword(bytes, offset, ")", "entry or close")
      case "contents' bytes":
        // Contents are no word: they are streamed, and never come here.
        return
    }
  }

  /** Compared in place: there are a dozen keywords to a file, and making strings of them cost more than all else. */
  #is(bytes: Uint8Array, offset: number, keyword: string): boolean {
    if (this.#length !== keyword.length) return false
    for (let index = 0; index < keyword.length; index++) {
      if (bytes[offset + index] !== keyword.charCodeAt(index)) return false
    }
    return true
  }

  #keyword(bytes: Uint8Array, offset: number, keyword: string, next: Expected): void {
    if (!this.#is(bytes, offset, keyword)) {
      const found = shown(bytes.subarray(offset, offset + this.#length))
      throw new WireError({ expected: `${JSON.stringify(keyword)} in a NAR`, found })
    }
    this.#expected = next
  }

  #node(bytes: Uint8Array, offset: number): void {
    this.#entries += 1
    if (this.#entries > Grammar.entriesMax) {
      throw new WireError({ expected: `at most ${Grammar.entriesMax} files in a NAR`, found: "more" })
    }
    if (this.#is(bytes, offset, "regular")) {
      this.#executable = false
      this.#expected = "executable or contents"
      return
    }
    if (this.#is(bytes, offset, "symlink")) {
      this.#expected = "target"
      return
    }
    this.#keyword(bytes, offset, "directory", "entry or close")
    if (this.#open.length === Grammar.depthMax) {
      throw new WireError({ expected: `a NAR directory depth of at most ${Grammar.depthMax}`, found: "a deeper one" })
    }
    this.#visitor.directory?.(this.#name)
    this.#open.push(null)
  }

  #pointed(target: Uint8Array): void {
    if (!Grammar.isTarget(target)) throw new WireError({ expected: "the target of a symlink", found: shown(target) })
    this.#visitor.symlink?.(this.#name, target)
    this.#expected = "close"
  }

  #named(name: Uint8Array): void {
    if (!Grammar.isName(name)) throw new WireError({ expected: "the name of a file in a NAR", found: shown(name) })
    const top = this.#open.length - 1
    const last = this.#open[top] ?? null
    if (last !== null && Buffer.compare(last, name) >= 0) {
      throw new WireError({ expected: `a name after ${shown(last)} in a NAR`, found: shown(name) })
    }
    this.#open[top] = name
    this.#name = name
    this.#expected = "node"
  }

  #contentsBegin(): void {
    this.#visitor.file?.(this.#name, { executable: this.#executable, size: this.#length, narOffset: this.size })
    this.#remaining = this.#length
    if (this.#remaining === 0) this.#contentsEnded()
  }

  #contentsEnded(): void {
    const zeros = Grammar.padding(this.#length)
    if (zeros === 0) return this.#fileEnded()
    this.#part = "padding"
    this.#need = zeros
  }

  #fileEnded(): void {
    this.#expected = "close"
    this.#visitor.fileEnd?.()
  }

  #nodeEnded(): void {
    if (this.#open.length === 0) this.done = true
  }
}

const checkZero = (bytes: Uint8Array, start: number, end: number): void => {
  for (let index = start; index < end; index++) {
    if (bytes[index] !== 0) throw new WireError({ expected: "zero padding in a NAR", found: `byte ${bytes[index]}` })
  }
}

/** Not `slice`, which of a `Buffer` is no copy but a view. */
const copyOf = (bytes: Uint8Array, offset: number, length: number) =>
  new Uint8Array(bytes.subarray(offset, offset + length))

const u32 = (bytes: Uint8Array, offset: number): number =>
  ((bytes[offset] ?? 0) |
    ((bytes[offset + 1] ?? 0) << 8) |
    ((bytes[offset + 2] ?? 0) << 16) |
    ((bytes[offset + 3] ?? 0) << 24)) >>>
  0

const shown = (bytes: Uint8Array) => JSON.stringify(Buffer.from(bytes.subarray(0, 100)).toString("latin1"))
