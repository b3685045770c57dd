/**
 * What may be executed over SSH: the two programs a Nix client starts on a remote store, and nothing else.
 *
 * Nothing is ever run. The text of an `exec` request is taken apart by the shell's rules of quoting,
 * compared with the forms below, and either names a protocol or is refused with one line.
 *
 *     [DIRECTORY/]nix-store --serve [--write]      the serve protocol; read-only without --write
 *     [DIRECTORY/]nix-daemon --stdio               the worker protocol
 *     [DIRECTORY/]nix daemon --stdio               the same
 *
 * `--store URI` may stand anywhere. `auto` and `daemon` mean the one store there is; any other store
 * is refused, since to ignore it would quietly answer from another store than was asked for.
 */
import { Result, Schema } from "effect"

export interface Command {
  readonly protocol: "worker" | "serve"
  /** Whether the client may add to the store and build. */
  readonly writable: boolean
}

/** The exit status of a command that cannot be run, as shells have it. */
export const refusedStatus = 127

/** Longer requests are not looked at: no form above needs a hundredth of it. */
export const lengthMax = 4096

export class CommandRefused extends Schema.TaggedError<CommandRefused>()("CommandRefused", {
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `expected ${this.expected}, found ${this.found}`
  }
}

const forms = "nix-store --serve [--write] or nix-daemon --stdio"

/** Makes a refusal of anything else a client may ask of a session, such as a shell. */
export const refuse = (found: string) => new CommandRefused({ expected: forms, found })

export const parse = (text: string): Result.Result<Command, CommandRefused> => {
  if (text.length > lengthMax) return Result.fail(refuse(`a command of ${text.length} characters`))
  const words = splitWords(text)
  return words === undefined ? Result.fail(refuse(quote(text))) : recognise(words, text)
}

const recognise = (words: ReadonlyArray<string>, text: string): Result.Result<Command, CommandRefused> => {
  const [program = "", ...rest] = words
  const options = new Set<string>()
  for (let index = 0; index < rest.length; index++) {
    const word = rest[index]!
    if (word === "--store") {
      const store = rest[++index]
      if (store !== "auto" && store !== "daemon") {
        return Result.fail(new CommandRefused({ expected: "no --store, auto or daemon", found: quote(text) }))
      }
    } else if (options.has(word)) {
      return Result.fail(refuse(quote(text)))
    } else {
      options.add(word)
    }
  }
  // `daemon` may not stand behind the option: Nix itself wants its subcommand first.
  const asked = [...options].join(" ")
  switch (`${program.slice(program.lastIndexOf("/") + 1)} ${asked}`) {
    case "nix-store --serve":
      return Result.succeed({ protocol: "serve", writable: false })
    case "nix-store --serve --write":
    case "nix-store --write --serve":
      return Result.succeed({ protocol: "serve", writable: true })
    case "nix-daemon --stdio":
    case "nix daemon --stdio":
      return Result.succeed({ protocol: "worker", writable: true })
    default:
      return Result.fail(refuse(quote(text)))
  }
}

/** What makes more than one simple command of a text, unless it is quoted. Wildcards stand for themselves. */
const special = /[;&|<>()$`\n]/

/** The words of a simple command, or nothing when it is not one: unbalanced quotes, expansions, operators. */
const splitWords = (text: string): ReadonlyArray<string> | undefined => {
  const words: Array<string> = []
  let word: string | undefined
  for (let index = 0; index < text.length; index++) {
    const character = text[index]!
    if (character === " " || character === "\t") {
      if (word !== undefined) words.push(word)
      word = undefined
      continue
    }
    word ??= ""
    if (character === "'") {
      const end = text.indexOf("'", index + 1)
      if (end < 0) return undefined
      word += text.slice(index + 1, end)
      index = end
    } else if (character === '"') {
      const quoted = readDoubleQuoted(text, index + 1)
      if (quoted === undefined) return undefined
      word += quoted.word
      index = quoted.end
    } else if (character === "\\") {
      const escaped = text[++index]
      if (escaped === undefined || escaped === "\n") return undefined
      word += escaped
    } else if (special.test(character)) {
      return undefined
    } else {
      word += character
    }
  }
  if (word !== undefined) words.push(word)
  return words
}

/** What stands from `start` to the closing quote, which is at `end`. */
const readDoubleQuoted = (text: string, start: number): { readonly word: string; readonly end: number } | undefined => {
  let word = ""
  for (let index = start; index < text.length; index++) {
    const character = text[index]!
    if (character === '"') return { word, end: index }
    if (character === "$" || character === "`") return undefined
    const next = text[index + 1]
    // Inside double quotes a backslash stands for itself unless what follows would be special there.
    if (character === "\\" && next !== undefined && '$`"\\'.includes(next)) {
      word += next
      index++
    } else {
      word += character
    }
  }
  return undefined
}

/** For a terminal: one line, nothing that a terminal obeys, not longer than a line. */
const quote = (text: string): string => {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text
  return JSON.stringify(shown).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
}
