/**
 * Where in a client's own trace its request stands: `TRACEPARENT` and `TRACESTATE`, sent with SSH's `SendEnv`.
 *
 *     version "-" trace-id "-" parent-id "-" flags        all in lower-case hex: 2, 32, 16 and 2 digits
 *     key "=" value *31("," key "=" value)
 *
 * A later version may add fields to the first, which are passed over. What breaks the rules is as if it had not been
 * said: the state alone if only that does. A client's word decides where its own request is shown and whether it is,
 * and nothing else: a build that others may share has a trace of its own.
 *
 * @see https://www.w3.org/TR/trace-context/
 */
import { Tracer } from "effect"

export interface Caller {
  readonly span: Tracer.ExternalSpan
  /** Kept as it came, for the client's own vendor. Null if there is none. */
  readonly state: string | null
}

const layout = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

const isZero = (id: string) => /^0+$/.test(id)

/** The least that must be kept whole; longer ones cost a span more than all else that is known of it. */
const stateLengthMax = 512
const membersMax = 32
const member = /^(?:[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}|[a-z][a-z0-9_*/-]{0,255})=/
/** Printable, without `,` and `=`, and not ending in a space. */
const value = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

const stateOf = (text: string): string | null => {
  if (text.length > stateLengthMax) return null
  const members = text
    .split(",")
    .map((each) => each.replace(/^[ \t]+|[ \t]+$/g, ""))
    .filter((each) => each !== "")
  if (members.length === 0 || members.length > membersMax) return null
  const keys = new Set<string>()
  for (const each of members) {
    const key = member.exec(each)?.[0]
    if (key === undefined || keys.has(key) || !value.test(each.slice(key.length))) return null
    keys.add(key)
  }
  return members.join(",")
}

/** Null if the client has not said, or not in words that mean anything. */
export const of = (environment: ReadonlyMap<string, string>): Caller | null => {
  const [, version, traceId, spanId, flags, more] = layout.exec(environment.get("TRACEPARENT") ?? "") ?? []
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return null
  if (version === "ff" || (version === "00" && more !== undefined)) return null
  if (isZero(traceId) || isZero(spanId)) return null
  const sampled = (Number.parseInt(flags, 16) & 1) === 1
  return {
    span: Tracer.externalSpan({ traceId, spanId, sampled }),
    state: stateOf(environment.get("TRACESTATE") ?? "")
  }
}
