/**
 * Derivation files: printed as Nix prints them, and read only if they are printed so.
 *
 *   Derive([outputs],[input derivations],[input sources],"system","builder",[arguments],[environment])
 *
 *   output             ("out","/nix/store/…","r:sha256","9f86…")
 *   input derivation   ("/nix/store/….drv",["dev","out"])
 *   environment        ("name","value")
 *
 * Lists but the arguments are sorted by their first string, bytewise, without duplicates. In strings `"` and `\` stand
 * after a backslash, and a newline, carriage return and tab are `\n`, `\r`, `\t`; all else are raw bytes.
 *
 * With dynamic derivations the whole is `DrvWithVersion("xp-dyn-drv",…)`, and an input derivation may say
 * `("….drv",(["out"],[("out",["bin"])]))`: outputs of it, and of the derivations that those are.
 *
 * Inside, files are text with a character for each byte, for which JavaScript is fast.
 *
 * @see Nix `src/libstore/derivations.cc`, `Derivation::unparse`
 */
import { Schema } from "effect"
import { isUtf8 } from "node:buffer"
import { WireError } from "../wire/Codec.ts"
import { type Derivation, OutputName, parseOutput, printOutput, type Wanted } from "./Derivation.ts"
import * as Store from "./StorePath.ts"
import type { StorePath } from "./StorePath.ts"

/** Derivations made by derivations made by derivations: more is nobody's need. */
export const depthMax = 32

/** Bytes of a file. The largest that people write are a hundredth of it. */
export const fileBytesMax = 16 * 1024 * 1024

/** Strings in one derivation: each takes memory beyond its bytes. */
export const stringsMax = 250_000

/** The file of a derivation. */
export const print = (derivation: Derivation): Uint8Array =>
  serialise(
    derivation,
    derivation.inputDerivations.map(([path, wanted]) => [Store.print(path), wanted]),
    { masked: false }
  )

/**
 * As `print`, with other names for the input derivations, and where it is `masked` without the paths of its own
 * outputs: what is hashed to find those paths (`OutputPaths.ts`).
 */
export const serialise = (
  derivation: Derivation,
  inputs: ReadonlyArray<readonly [name: string, wanted: Wanted]>,
  { masked }: { readonly masked: boolean }
): Uint8Array => {
  const names = new Set(derivation.outputs.map(([name]) => raw(name)))
  const outputs = derivation.outputs.map(([name, output]) => {
    const [path, method, hash] = printOutput(output)
    return [name, masked ? "" : path, method, hash].map(raw)
  })
  const variables = derivation.environment.map(([name, value]) => {
    const key = latin1(name)
    return [key, masked && names.has(key) ? "" : latin1(value)]
  })
  const isDynamic = derivation.inputDerivations.some(([, wanted]) => wanted.dynamic.length > 0)
  const fields = [
    list(outputs.sort(byFirst).map(tuple)),
    list([...inputs].sort(byFirst).map(([name, wanted]) => `(${string(raw(name))},${printWanted(wanted, isDynamic)})`)),
    list(Store.sorted(derivation.inputSources).map((path) => string(Store.print(path)))),
    string(raw(derivation.system)),
    string(latin1(derivation.builder)),
    list(derivation.arguments.map((argument) => string(latin1(argument)))),
    list(variables.sort(byFirst).map(tuple))
  ].join(",")
  return Buffer.from(isDynamic ? `DrvWithVersion("xp-dyn-drv",${fields})` : `Derive(${fields})`, "latin1")
}

/** Refuses whatever `print` would have written in another way. */
export const parse = (file: Uint8Array): Derivation | WireError => {
  if (file.length > fileBytesMax)
    return new WireError({ expected: `a derivation of at most ${fileBytesMax} bytes`, found: `${file.length}` })
  try {
    const derivation = new Parser(latin1(file)).derivation()
    return Buffer.compare(print(derivation), file) === 0
      ? derivation
      : new WireError({ expected: "a derivation as Nix writes it", found: "the same written in another way" })
  } catch (error) {
    if (error instanceof WireError) return error
    throw error
  }
}

class Parser {
  readonly #text: string
  #at = 0
  #isDynamic = false
  #strings = 0

  constructor(text: string) {
    this.#text = text
  }

  derivation(): Derivation {
    this.#isDynamic = this.#skips("DrvWithVersion(")
    this.#skip(this.#isDynamic ? '"xp-dyn-drv",' : "Derive(")
    const outputs = ascending(
      this.#list(() => this.#output()),
      ([name]) => raw(name)
    )
    this.#skip(",")
    const inputDerivations = ascending(
      this.#list(() => this.#input()),
      ([path]) => path
    )
    this.#skip(",")
    const inputSources = ascending(
      this.#list(() => this.#path()),
      (path) => path
    )
    this.#skip(",")
    const system = this.#words()
    this.#skip(",")
    const builder = this.#bytes()
    this.#skip(",")
    const arguments_ = this.#list(() => this.#bytes())
    this.#skip(",")
    const environment = ascending(
      this.#list(() => this.#variable()),
      ([name]) => latin1(name)
    )
    this.#skip(")")
    if (this.#at < this.#text.length) throw this.#wrong("the end of the derivation")
    return { outputs, inputDerivations, inputSources, system, builder, arguments: arguments_, environment }
  }

  #output(): Derivation["outputs"][number] {
    this.#skip("(")
    const name = this.#name()
    this.#skip(",")
    const path = this.#words()
    this.#skip(",")
    const method = this.#words()
    this.#skip(",")
    const output = parseOutput([path, method, this.#words()])
    this.#skip(")")
    if (output instanceof WireError) throw output
    return [name, output]
  }

  #input(): Derivation["inputDerivations"][number] {
    this.#skip("(")
    const path = this.#path()
    this.#skip(",")
    const wanted = this.#wanted(0)
    this.#skip(")")
    return [path, wanted]
  }

  #wanted(depth: number): Wanted {
    if (depth > depthMax) throw this.#wrong(`derivations at most ${depthMax} deep`)
    const isNested = this.#isDynamic && this.#skips("(")
    const outputs = ascending(
      this.#list(() => this.#name()),
      raw
    )
    if (!isNested) return { outputs, dynamic: [] }
    this.#skip(",")
    const dynamic = this.#list(() => {
      this.#skip("(")
      const name = this.#name()
      this.#skip(",")
      const wanted = this.#wanted(depth + 1)
      this.#skip(")")
      return [name, wanted] as const
    })
    this.#skip(")")
    return { outputs, dynamic: ascending(dynamic, ([name]) => raw(name)) }
  }

  #variable(): Derivation["environment"][number] {
    this.#skip("(")
    const name = this.#bytes()
    this.#skip(",")
    const value = this.#bytes()
    this.#skip(")")
    return [name, value]
  }

  #path(): StorePath {
    const path = Store.parse(this.#words())
    if (path instanceof WireError) throw path
    return path
  }

  #name(): string {
    const name = this.#words()
    if (!isOutputName(name)) throw this.#wrong("the name of an output")
    return name
  }

  #list<A>(item: () => A): ReadonlyArray<A> {
    this.#skip("[")
    const items: Array<A> = []
    while (!this.#skips("]")) {
      if (items.length > 0) this.#skip(",")
      items.push(item())
    }
    return items
  }

  /** A string that is text. */
  #words(): string {
    const raw = this.#raw()
    if (ascii.test(raw)) return raw
    const bytes = Buffer.from(raw, "latin1")
    if (!isUtf8(bytes)) throw this.#wrong("UTF-8")
    return bytes.toString()
  }

  #bytes(): Uint8Array {
    return bytesOf(this.#raw())
  }

  /** A string, with a character for each byte. */
  #raw(): string {
    this.#strings += 1
    if (this.#strings > stringsMax) throw this.#wrong(`at most ${stringsMax} strings`)
    this.#skip('"')
    const start = this.#at
    let isEscaped = false
    // Not a pattern: over many escapes those run out of stack.
    for (let code = this.#text.charCodeAt(this.#at); code !== quote; code = this.#text.charCodeAt(this.#at)) {
      if (this.#at >= this.#text.length) throw this.#wrong("a string and its closing quote")
      if (code === backslash) isEscaped = true
      this.#at += code === backslash ? 2 : 1
    }
    const contents = this.#text.slice(start, this.#at)
    this.#at += 1
    return isEscaped ? unescape(contents) : contents
  }

  #skips(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false
    this.#at += word.length
    return true
  }

  #skip(word: string): void {
    if (!this.#skips(word)) throw this.#wrong(word)
  }

  #wrong(expected: string): WireError {
    const found = this.#text.slice(this.#at, this.#at + 40)
    return new WireError({
      expected: `${expected} in a derivation`,
      found: `${JSON.stringify(found)} at byte ${this.#at}`
    })
  }
}

const quote = 0x22
const backslash = 0x5c

// oxlint-disable-next-line no-control-regex
const ascii = /^[\x00-\x7f]*$/

/** What stands after a backslash, and for which byte. Any other stands for itself. */
const letters: ReadonlyMap<number, number> = new Map([
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09]
])
const escapes: ReadonlyMap<number, number> = new Map([
  ...Array.from(letters, ([letter, byte]) => [byte, letter] as const),
  [quote, quote],
  [backslash, backslash]
])

// Byte by byte, since a file may be nothing but escapes, and a function called for each takes a second a megabyte.
const unescape = (raw: string): string => {
  const bytes = Buffer.allocUnsafe(raw.length)
  let length = 0
  for (let index = 0; index < raw.length; index++) {
    const code = raw.charCodeAt(index)
    const letter = code === backslash ? raw.charCodeAt(++index) : code
    bytes[length++] = code === backslash ? (letters.get(letter) ?? letter) : code
  }
  return bytes.toString("latin1", 0, length)
}

const escape = (raw: string): string => {
  const bytes = Buffer.allocUnsafe(raw.length * 2)
  let length = 0
  for (let index = 0; index < raw.length; index++) {
    const code = raw.charCodeAt(index)
    const letter = escapes.get(code)
    if (letter !== undefined) bytes[length++] = backslash
    bytes[length++] = letter ?? code
  }
  return bytes.toString("latin1", 0, length)
}

const isOutputName = Schema.is(OutputName)

/** Up to here V8 holds a typed array without an `ArrayBuffer`, which a `Buffer` over it would make it have. */
const smallMax = 64

/** A character for each byte. */
const latin1 = (bytes: Uint8Array): string =>
  bytes.length <= smallMax
    ? String.fromCharCode(...bytes)
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")

/** A byte for each character, in memory of their own: else all strings of a file would keep the file. */
const bytesOf = (raw: string): Uint8Array => {
  if (raw.length > smallMax) return new Uint8Array(Buffer.from(raw, "latin1"))
  const bytes = new Uint8Array(raw.length)
  for (let index = 0; index < raw.length; index++) bytes[index] = raw.charCodeAt(index)
  return bytes
}

/** A character for each byte of the text in UTF-8. */
const raw = (text: string): string => (ascii.test(text) ? text : Buffer.from(text).toString("latin1"))

const string = (raw: string): string => `"${/["\\\n\r\t]/.test(raw) ? escape(raw) : raw}"`

const list = (items: ReadonlyArray<string>): string => `[${items.join(",")}]`

const tuple = (strings: ReadonlyArray<string>): string => `(${strings.map(string).join(",")})`

// Recursive, since a derivation that was read is no deeper than `depthMax`.
const printWanted = (wanted: Wanted, isDynamic: boolean): string => {
  const outputs = list(wanted.outputs.map((name) => string(raw(name))))
  if (!isDynamic) return outputs
  const dynamic = wanted.dynamic.map(([name, inner]) => `(${string(raw(name))},${printWanted(inner, true)})`)
  return wanted.dynamic.length === 0 ? outputs : `(${outputs},${list(dynamic)})`
}

/** Of characters that are bytes, which JavaScript compares as Nix does. */
const byFirst = (a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>): number => {
  const [first, second] = [String(a[0]), String(b[0])]
  return first < second ? -1 : first > second ? 1 : 0
}

const ascending = <A>(items: ReadonlyArray<A>, key: (item: A) => string): ReadonlyArray<A> => {
  items.forEach((item, index) => {
    const before = items[index - 1]
    if (before !== undefined && key(before) >= key(item)) {
      throw new WireError({
        expected: "a derivation in order, without duplicates",
        found: JSON.stringify(key(item).slice(0, 100))
      })
    }
  })
  return items
}
