/**
 * What a worker-protocol server says while it works on an operation: log lines, activities, errors.
 *
 * Any number of messages, then exactly one `Last`, which the response follows, or one `Error`, which
 * nothing follows and after which the connection is good for the next operation.
 *
 * Clients show a build's log only from `Result` messages of type `buildLogLine` on an activity of
 * type `build`. Types that Lix does not know end its connection, so there are no others here.
 *
 * @see Nix `src/libstore/worker-protocol-connection.cc`, `processStderrReturn`
 */
import { Schema } from "effect"
import * as Codec from "./Codec.ts"
import * as Variant from "./Variant.ts"

/** How loud a message is: clients show `info` and louder unless asked otherwise. */
export const Verbosity = Codec.named(
  "Verbosity",
  Variant.enumeration({ error: 0, warn: 1, notice: 2, info: 3, talkative: 4, chatty: 5, debug: 6, vomit: 7 })
)

export const ActivityType = Codec.named(
  "ActivityType",
  Variant.enumeration({
    unknown: 0,
    copyPath: 100,
    fileTransfer: 101,
    realise: 102,
    copyPaths: 103,
    builds: 104,
    build: 105,
    optimiseStore: 106,
    verifyPaths: 107,
    substitute: 108,
    queryPathInfo: 109,
    postBuildHook: 110,
    buildWaiting: 111,
    fetchTree: 112
  })
)

export const ResultType = Codec.named(
  "ResultType",
  Variant.enumeration({
    fileLinked: 100,
    buildLogLine: 101,
    untrustedPath: 102,
    corruptedPath: 103,
    setPhase: 104,
    progress: 105,
    setExpected: 106,
    postBuildLogLine: 107,
    fetchStatus: 108
  })
)

/** A number, or bytes: log lines are passed on as the builder wrote them. */
export const Field: Codec.Named<bigint | Uint8Array> = Codec.named("Field", fieldOf(Codec.u64, Codec.bytes))

function fieldOf(number: Codec.Codec<bigint>, bytes: Codec.Codec<Uint8Array>): Codec.Codec<bigint | Uint8Array> {
  const kind = Codec.upTo(1)
  return {
    schema: Schema.Union([number.schema, bytes.schema]),
    grammar: `(0 ${number.grammar} | 1 ${bytes.grammar})`,
    *encode(value, version) {
      yield* kind.encode(typeof value === "bigint" ? 0 : 1, version)
      if (typeof value === "bigint") yield* number.encode(value, version)
      else yield* bytes.encode(value, version)
    },
    *decode(version) {
      return (yield* kind.decode(version)) === 0 ? yield* number.decode(version) : yield* bytes.decode(version)
    }
  }
}

/** Why an operation was not done. */
export interface Failure {
  readonly message: string
  /** What led to it, innermost first. Only since 1.26. */
  readonly traces: ReadonlyArray<string>
  /** What a client before 1.26 exits with; 1 when read from a newer one. */
  readonly exitStatus: number
}

const failureSchema: Schema.Schema<Failure> = Schema.Struct({
  message: Codec.text.schema,
  traces: Schema.Array(Codec.text.schema),
  exitStatus: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 255 }))
})

const trace = Codec.refine(Codec.struct({ position: Variant.exactly(Codec.u64, 0n), hint: Codec.text }), {
  grammar: "(u64 0, text)",
  schema: Codec.text.schema,
  to: (hint) => ({ position: null, hint }),
  from: ({ hint }) => hint
})

const structured = Codec.struct({
  type: Variant.exactly(Codec.text, "Error"),
  level: Variant.ignored(Codec.u64, 0n),
  name: Variant.ignored(Codec.text, "Error"),
  message: Codec.text,
  position: Variant.exactly(Codec.u64, 0n),
  traces: Codec.list(trace)
})

const plain = Codec.struct({ message: Codec.text, exitStatus: Codec.upTo(255) })

const FailureFields: Codec.Codec<Failure> = Variant.layouts(
  Variant.from(0x011a),
  Codec.refine(structured, {
    grammar: structured.grammar,
    schema: failureSchema,
    to: ({ message, traces }) => ({ type: null, level: null, name: null, message, position: null, traces }),
    from: ({ message, traces }) => ({ message, traces, exitStatus: 1 })
  }),
  Codec.refine(plain, {
    grammar: plain.grammar,
    schema: failureSchema,
    to: ({ exitStatus, message }) => ({ message, exitStatus }),
    from: ({ exitStatus, message }) => ({ message, traces: [], exitStatus })
  })
)

export const Message = Codec.named(
  "StderrMessage",
  Variant.tagged({
    /** Shown to the user as it is, always. */
    Next: [0x6f6c6d67, Codec.struct({ text: Codec.bytes })],
    /** Asks for up to `count` bytes of what the client uploads; see `Pulled`. */
    Read: [0x64617461, Codec.struct({ count: Codec.u32 })],
    /** Done: the response follows. */
    Last: [0x616c7473, Codec.struct({})],
    Error: [0x63787470, FailureFields],
    /** Only since 1.20, as the next two. */
    StartActivity: [
      0x53545254,
      Codec.struct({
        /** Unique in the connection. */
        id: Codec.u64,
        level: Verbosity,
        type: ActivityType,
        text: Codec.bytes,
        fields: Codec.list(Field),
        /** Zero for none. */
        parent: Codec.u64
      })
    ],
    StopActivity: [0x53544f50, Codec.struct({ id: Codec.u64 })],
    Result: [0x52534c54, Codec.struct({ id: Codec.u64, type: ResultType, fields: Codec.list(Field) })]
  })
)
export type Message = Codec.Codec.Type<typeof Message>

// -----------------------------------------------------------------------------
// what a builder says
// -----------------------------------------------------------------------------

const utf8 = new TextEncoder()

export const last: Message = { _tag: "Last" }

export const failure = (message: string): Message => ({ _tag: "Error", message, traces: [], exitStatus: 1 })

/** A line that is always shown; it brings its own newline. */
export const notice = (text: string): Message => ({ _tag: "Next", text: utf8.encode(text) })

/** `derivation` is its absolute path. */
export const startBuild = (id: bigint, derivation: string): Message => ({
  _tag: "StartActivity",
  id,
  level: "info",
  type: "build",
  text: utf8.encode(`building '${derivation}'`),
  fields: [utf8.encode(derivation), utf8.encode(""), 1n, 1n],
  parent: 0n
})

/** One line of a build's log, without its newline. */
export const logLine = (id: bigint, line: Uint8Array): Message => ({
  _tag: "Result",
  id,
  type: "buildLogLine",
  fields: [line]
})

export const setPhase = (id: bigint, phase: string): Message => ({
  _tag: "Result",
  id,
  type: "setPhase",
  fields: [utf8.encode(phase)]
})

export const stop = (id: bigint): Message => ({ _tag: "StopActivity", id })
