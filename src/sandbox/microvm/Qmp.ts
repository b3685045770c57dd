/**
 * QEMU's monitor, as far as it is listened to: events that mean the machine no longer runs, and one question.
 *
 * A line is a JSON object. After a greeting and `qmp_capabilities`, QEMU answers each command with `return` or `error`,
 * and says events in between, in the order in which things happened: so once a command is answered, every event from
 * before is known.
 *
 * A QEMU that its guest has taken over says what it likes here. It can end its own build by that, and nothing else.
 */
import { Schema } from "effect"

/** Something that happened, of which we want to know. */
export type Event = { readonly _tag: "Ended"; readonly detail: string } | { readonly _tag: "Answered" }

/** A line of QEMU's is some hundred bytes. */
export const lineBytesMax = 64 * 1024

const Line = Schema.Struct({
  event: Schema.optionalKey(Schema.String),
  data: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown)),
  return: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(Schema.Struct({ desc: Schema.String }))
})

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Line))

/** Each command is answered by exactly one line. */
export const commands = {
  begin: '{"execute":"qmp_capabilities"}\n',
  status: '{"execute":"query-status"}\n',
  /** Copies the machine to whoever listens there, as fast as it is taken. Once it has been, it stands still. */
  copyTo: (path: string) => [
    '{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":100000000000}}\n',
    `${JSON.stringify({ execute: "migrate", arguments: { uri: `unix:${path}` } })}\n`
  ]
} as const

/** Of a machine that stands still: because its processors cannot go on, or because it has been copied. */
export const stopped = "its processors have stopped"

/** Events after which the machine does nothing for its build any more, and what they mean. */
const endings: { readonly [event: string]: (data: Record<string, unknown>) => string } = {
  // Of a KVM that cannot run this kernel, say: QEMU itself would stay for ever.
  STOP: () => stopped,
  SHUTDOWN: ({ reason }) => `it has shut down (${String(reason)})`,
  RESET: () => "it has started again",
  GUEST_PANICKED: () => "its kernel has given up",
  BLOCK_IO_ERROR: ({ nospace, "node-name": node, operation, reason }) =>
    nospace === true
      ? "the disk of this host is full"
      : `its disk ${String(node)} cannot ${String(operation)}: ${String(reason)}`
}

/** Statuses other than these mean that the machine does not run. */
const running = ["running", "prelaunch", "inmigrate"]

/** What a line says, if it is of any interest. */
export const read = (text: string): Event | null => {
  const line = decode(text)
  if (line._tag === "None") return { _tag: "Ended", detail: "its monitor says what is no message" }
  const { data = {}, error, event, return: answer } = line.value
  if (event !== undefined) {
    const ending = Object.hasOwn(endings, event) ? endings[event] : undefined
    return ending === undefined ? null : { _tag: "Ended", detail: ending(data) }
  }
  if (error !== undefined) return { _tag: "Ended", detail: `its monitor refuses a command: ${error.desc}` }
  if (answer === undefined) return null
  const status = typeof answer === "object" && answer !== null && "status" in answer ? String(answer.status) : null
  return status === null || running.includes(status)
    ? { _tag: "Answered" }
    : { _tag: "Ended", detail: `it is not running: ${status}` }
}

/** Cuts what comes into lines, and says what they say. */
export class Reader {
  #rest = ""
  #isOver = false

  /** Of the text that has come, every event of interest. None after a line without end, of which no more is kept. */
  push(text: string): ReadonlyArray<Event> {
    if (this.#isOver) return []
    const lines = (this.#rest + text).split("\n")
    this.#rest = lines.pop() ?? ""
    const events = lines.flatMap((line) => read(line) ?? [])
    if (this.#rest.length <= lineBytesMax) return events
    this.#isOver = true
    this.#rest = ""
    return [...events, { _tag: "Ended", detail: "its monitor says a line without end" }]
  }
}
