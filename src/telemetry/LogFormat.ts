/**
 * What is logged, taken apart: one message, and the data beside it by name.
 *
 * Who logs says `Effect.logInfo("serving", { cores: 2 })`, and what is to be searched for are `message` and `cores`. As
 * a line of text that is logfmt:
 *
 *     timestamp=2026-01-02T03:04:05.678Z level=INFO fiber=#7 message=serving cores=2
 *
 * A client can bring about that it is quoted in a log. So nothing ends a line or reaches a terminal as a command, a
 * name that the line itself uses cannot be said twice, and no value is longer than is any good.
 */
import { Cause, Logger, References } from "effect"

type Options = Logger.Options<unknown>

/** Longer ones are cut: a line that a collector refuses tells nobody anything. */
const valueMax = 8192

const own = new Set(["timestamp", "level", "fiber", "message", "cause"])

const plain = /^[\x21\x23-\x3c\x3e-\x7e\u00a1-\u1fff\u2030-\uffff]+$/

const cut = (text: string) => (text.length <= valueMax ? text : `${text.slice(0, valueMax)}…`)

const escaped = (text: string) =>
  JSON.stringify(text).replace(
    /[\x7f-\x9f\u2000-\u202f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

const quoted = (text: string) => {
  const short = cut(text)
  return plain.test(short) ? short : escaped(short)
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))

/** As text whatever it is, and whatever of it cannot be read. */
const textOf = (value: unknown): string => {
  if (typeof value === "string") return value
  if (value instanceof Error) return value.message === "" ? value.name : `${value.name}: ${value.message}`
  try {
    return (typeof value === "object" ? JSON.stringify(value) : undefined) ?? String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

interface Parts {
  readonly message: string
  readonly data: ReadonlyMap<string, unknown>
}

/** An object beside the message is data by its names; everything else is part of the message. */
const parts = (message: unknown): Parts => {
  const words: Array<string> = []
  const data = new Map<string, unknown>()
  for (const [index, said] of [message].flat().entries()) {
    if (index > 0 && isRecord(said)) for (const [name, value] of Object.entries(said)) data.set(name, value)
    else words.push(textOf(said))
  }
  return { message: words.join(": "), data }
}

const nameOf = (name: string) => (own.has(name) ? `${name}_` : name).replace(/[^\w.-]/g, "_").slice(0, 128) || "_"

/** A line of logfmt, without its end. */
export const format = ({ cause, date, fiber, logLevel, message }: Options): string => {
  const said = parts(message)
  const pairs: Array<readonly [string, string]> = [
    ["timestamp", date.toISOString()],
    ["level", logLevel.toUpperCase()],
    ["fiber", `#${fiber.id}`],
    ["message", said.message]
  ]
  for (const [name, value] of said.data) pairs.push([nameOf(name), textOf(value)])
  if (cause.reasons.length > 0) pairs.push(["cause", Cause.pretty(cause)])
  for (const [name, value] of Object.entries(fiber.getRef(References.CurrentLogAnnotations))) {
    if (!said.data.has(name)) pairs.push([nameOf(name), textOf(value)])
  }
  return pairs.map(([name, text]) => `${name}=${quoted(text)}`).join(" ")
}

/** To stderr, where a supervisor looks. */
export const console: Logger.Logger<unknown, void> = Logger.withConsoleError(Logger.make(format))

/** A logger that is given the message alone, and its data as what the fiber would have said of itself. */
export const apart = <Output>(logger: Logger.Logger<unknown, Output>): Logger.Logger<unknown, Output> =>
  Logger.make((options) => {
    const { data, message } = parts(options.message)
    const { fiber } = options
    const annotations = {
      ...fiber.getRef(References.CurrentLogAnnotations),
      ...Object.fromEntries([...data].map(([name, value]) => [name, isRecord(value) ? textOf(value) : value]))
    }
    // The same fiber but for one answer: a logger asks it for nothing that writes.
    const speaking = Object.create(fiber, {
      getRef: {
        value: (reference: Parameters<typeof fiber.getRef>[0]) =>
          reference === References.CurrentLogAnnotations ? annotations : fiber.getRef(reference)
      }
    }) as typeof fiber
    return logger.log({ ...options, message, fiber: speaking })
  })
