/**
 * A builder's log, cut into what the worker protocol says of it: lines and phases.
 *
 * The rules are those of Nix's own builder, so that a log reads the same wherever the build ran:
 *
 * - `\n` ends a line, and an empty line is a line.
 * - `\r` moves to column 0, and what follows overwrites: of a progress bar the last state remains.
 * - What stands without an end when the log ends is a line too, unless it is empty.
 * - `@nix {"action":"setPhase","phase":P}` is no line but a phase. The other actions that Nix knows say
 *   nothing that a builder is believed in, and are dropped. What is no JSON is a line like any other.
 *
 * Bytes are handed on as they are, whatever they are. Only the line that is being written is held.
 *
 * @see Nix `src/libstore/unix/build/derivation-building-goal.cc`, `handleChildOutput`
 */

export type Said =
  | { readonly _tag: "Line"; readonly bytes: Uint8Array }
  | { readonly _tag: "Phase"; readonly name: string }

export interface LogLines {
  /** What these bytes complete. The array given is not kept. */
  readonly push: (bytes: Uint8Array) => ReadonlyArray<Said>
  /** What is left when the log has ended. */
  readonly end: () => ReadonlyArray<Said>
}

/** A longer line is cut here: without this, a builder that writes no line end fills our memory. */
export const lineBytesMax = 4 * 1024 * 1024

/** The longest line that may be a message of the builder's to Nix; longer ones are not even looked into. */
const messageBytesMax = 64 * 1024

/** What a line may grow to without asking for memory again. */
const lineBytesStart = 256

const newline = 0x0a
const carriageReturn = 0x0d
const marker = new TextEncoder().encode("@nix ")

export const make = (): LogLines => {
  let line = new Uint8Array(lineBytesStart)
  let length = 0
  let column = 0

  const write = (part: Uint8Array): void => {
    const needed = column + part.length
    if (needed > line.length) {
      const grown = new Uint8Array(Math.max(needed, line.length * 2))
      grown.set(line.subarray(0, length))
      line = grown
    }
    line.set(part, column)
    column = needed
    if (column > length) length = column
  }

  const finish = (said: Array<Said>): void => {
    const one = interpret(line.slice(0, length))
    if (one !== undefined) said.push(one)
    // A line that was long does not make the next ones dear.
    if (line.length > messageBytesMax) line = new Uint8Array(lineBytesStart)
    length = 0
    column = 0
  }

  const push = (bytes: Uint8Array): ReadonlyArray<Said> => {
    const said: Array<Said> = []
    let offset = 0
    while (offset < bytes.length) {
      if (bytes[offset] === newline) {
        finish(said)
        offset++
      } else if (bytes[offset] === carriageReturn) {
        column = 0
        offset++
      } else {
        if (column === lineBytesMax) finish(said)
        const end = endOfRun(bytes, offset, Math.min(bytes.length, offset + lineBytesMax - column))
        write(bytes.subarray(offset, end))
        offset = end
      }
    }
    return said
  }

  const end = (): ReadonlyArray<Said> => {
    const said: Array<Said> = []
    if (length > 0) finish(said)
    return said
  }

  return { push, end }
}

/** Where the next `\n` or `\r` is, or `end`. */
const endOfRun = (bytes: Uint8Array, start: number, end: number): number => {
  let index = start
  while (index < end && bytes[index] !== newline && bytes[index] !== carriageReturn) index++
  return index
}

/** Actions of Nix's internal log that are no lines. A builder may use them, and none of them is for a client. */
const dropped = new Set(["msg", "start", "stop", "result"])

/** Undefined: nothing to be said. */
const interpret = (bytes: Uint8Array): Said | undefined => {
  const line: Said = { _tag: "Line", bytes }
  if (bytes.length > messageBytesMax || marker.some((byte, index) => bytes[index] !== byte)) return line
  const message = parse(new TextDecoder().decode(bytes.subarray(marker.length)))
  if (typeof message !== "object" || message === null || !("action" in message)) return line
  if (message.action === "setPhase" && "phase" in message && typeof message.phase === "string") {
    return { _tag: "Phase", name: message.phase.toWellFormed() }
  }
  return typeof message.action === "string" && dropped.has(message.action) ? undefined : line
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
