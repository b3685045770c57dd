/**
 * What the host and the executor say to each other, declared once on this side.
 *
 * A frame is a type (u8), the length of its payload (u32, little-endian, at most 1 MiB) and the payload.
 * `executor/channel.h` declares the same. The order, of which `expected` is the executor's half:
 *
 *     executor  Booted                  a machine of the build's own, and no other; a copy of one that has said so does not
 *     host      Seed, Clock, Network    to such a machine
 *     executor  Ready
 *     host      Program, Argument*, Variable*, (BuildFile | EtcFile, FileData*)*, Output*, Run
 *     executor  Log*, Exited
 *     host      Send                    any number of times, each answered before the next by
 *     executor  NarData*, NarEnd | NarRefused
 *     host      Quit
 *
 * At any time after Ready an executor in a machine of its own says Heartbeat, every second; any may say Failed and end.
 * The host may close the channel, which ends everything.
 *
 * An executor is believed in nothing: in a VM, whoever got out of the builder's sandbox speaks in its place.
 */
import { WireError } from "../../protocol/wire/Codec.ts"
import type { Job } from "../Job.ts"

/** Bytes of a payload: the most that a frame can make the other side hold. */
export const payloadBytesMax = 1024 * 1024

export const headerBytes = 5

/** Both sides are of one build, so there is one version at a time. */
export const version = 4

const hostTypes = {
  Program: 1,
  Argument: 2,
  Variable: 3,
  BuildFile: 4,
  EtcFile: 5,
  FileData: 6,
  Output: 7,
  Run: 8,
  Send: 9,
  Clock: 10,
  Seed: 11,
  Quit: 12,
  Network: 13
} as const

const executorTags: ReadonlyMap<number, FromExecutor["_tag"]> = new Map([
  [0x81, "Ready"],
  [0x82, "Log"],
  [0x83, "Exited"],
  [0x84, "NarData"],
  [0x85, "NarEnd"],
  [0x86, "NarRefused"],
  [0x87, "Failed"],
  [0x88, "Heartbeat"],
  [0x89, "Booted"]
])

/** Bits of Run. */
const runFlags = { network: 1, linux32: 2, kvm: 4 } as const

/** Why an output is not sent. */
const refusals = ["missing", "suspicious", "ownership", "type", "depth", "entries"] as const
export type Refusal = (typeof refusals)[number]

/** Twice what the deepest path of the longest names takes: it becomes part of a message, which is kept and passed on. */
const refusedPathBytesMax = 32 * 1024

const exitKinds = ["Exited", "Signalled", "NotStarted", "LogClosed"] as const

/** How the builder ended, as the executor saw it. */
export interface Exited {
  readonly _tag: "Exited"
  readonly kind: (typeof exitKinds)[number]
  /** Exit status, signal (also of one that was killed for having closed its log), or errno of `execve`. */
  readonly value: number
  readonly cpuUserMicroseconds: number
  readonly cpuSystemMicroseconds: number
  /** Of the largest process; or of the whole build, where more of it was seen. */
  readonly residentBytesMax: number
  /** What was left where the build may write, after it had ended. */
  readonly scratchBytesFree: number
  readonly scratchInodesFree: number
  /** Of the whole build, and how many of its processes were killed at its limit; null where the executor cannot tell. */
  readonly memoryPeakBytes: number | null
  readonly oomKills: number | null
  /** For each declared output, in order, whether it is there. */
  readonly present: ReadonlyArray<boolean>
}

export type FromExecutor =
  | { readonly _tag: "Booted" }
  | { readonly _tag: "Ready"; readonly version: number }
  | { readonly _tag: "Log"; readonly bytes: Uint8Array }
  | Exited
  | { readonly _tag: "NarData"; readonly bytes: Uint8Array }
  | { readonly _tag: "NarEnd" }
  | { readonly _tag: "NarRefused"; readonly reason: Refusal; readonly path: string }
  | { readonly _tag: "Failed"; readonly detail: string }
  | { readonly _tag: "Heartbeat" }

/** What the host waits for. */
export type State = "Booting" | "Starting" | "Running" | "Ended" | "Sending"

/**
 * Which frames the executor may send in each state, and the state that follows. `Failed` may come at any time, and
 * `Heartbeat` at any after `Ready`.
 */
export const expected: { readonly [S in State]: { readonly [T in FromExecutor["_tag"]]?: State } } = {
  Booting: { Booted: "Starting" },
  Starting: { Ready: "Ended" },
  Running: { Log: "Running", Exited: "Ended" },
  Ended: {},
  Sending: { NarData: "Sending", NarEnd: "Ended", NarRefused: "Ended" }
}

// -----------------------------------------------------------------------------
// to the executor
// -----------------------------------------------------------------------------

const frame = (type: keyof typeof hostTypes, payload: Uint8Array): Uint8Array => {
  if (payload.length > payloadBytesMax) {
    throw new WireError({ expected: `at most ${payloadBytesMax} bytes in a frame ${type}`, found: `${payload.length}` })
  }
  const bytes = new Uint8Array(headerBytes + payload.length)
  bytes[0] = hostTypes[type]
  new DataView(bytes.buffer).setUint32(1, payload.length, true)
  bytes.set(payload, headerBytes)
  return bytes
}

const text = (value: string) => new TextEncoder().encode(value)

/** A whole job, frame by frame; the last of them starts the builder. Throws `WireError` where one would be too long. */
export function* job(value: Job): Generator<Uint8Array> {
  yield frame("Program", value.program)
  for (const argument of value.argv) yield frame("Argument", argument)
  for (const [name, contents] of value.environment) {
    yield frame("Variable", Buffer.concat([name, text("="), contents]))
  }
  yield* files("BuildFile", value.files)
  yield* files("EtcFile", value.etc)
  for (const { path } of value.outputs) yield frame("Output", text(path))
  yield frame("Run", run(value))
}

function* files(type: "BuildFile" | "EtcFile", all: Job["files"]): Generator<Uint8Array> {
  for (const { contents, name } of all) {
    yield frame(type, text(name))
    for (let offset = 0; offset < contents.length; offset += payloadBytesMax) {
      yield frame("FileData", contents.subarray(offset, offset + payloadBytesMax))
    }
  }
}

const run = ({ hostname, linux32, network, kvm, processesMax }: Job): Uint8Array => {
  const name = text(hostname)
  const bytes = new Uint8Array(8 + name.length)
  const flags = (network ? runFlags.network : 0) | (linux32 ? runFlags.linux32 : 0) | (kvm ? runFlags.kvm : 0)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, flags, true)
  view.setUint32(4, processesMax, true)
  bytes.set(name, 8)
  return bytes
}

/** Asks for the output of that base name. */
export const send = (baseName: string): Uint8Array => frame("Send", text(baseName))

/** Sets the clock of a machine of the build's own. */
export const clock = (nanosecondsSinceEpoch: bigint): Uint8Array => {
  const payload = new Uint8Array(8)
  new DataView(payload.buffer).setBigUint64(0, nanosecondsSinceEpoch, true)
  return frame("Clock", payload)
}

/** As many bytes of chance as a machine of the build's own starts with, so that no two draw the same numbers. */
export const seedBytes = 32

export const seed = (chance: Uint8Array): Uint8Array => frame("Seed", chance)

/** What a machine of the build's own is to make of its network card, as in executor/wire.h; nothing, if it has none. */
export const network = (words: ReadonlyArray<string>): Uint8Array => frame("Network", text(words.join(" ")))

/** Ends an executor, and with it the machine that is its own. */
export const quit: Uint8Array = frame("Quit", new Uint8Array(0))

// -----------------------------------------------------------------------------
// from the executor
// -----------------------------------------------------------------------------

export interface Header {
  readonly type: number
  readonly length: number
}

/** What is bounded by its bytes has some in each frame, or it would have no end. */
const neverEmpty: ReadonlyArray<FromExecutor["_tag"] | undefined> = ["Log", "NarData"]

export const header = (bytes: Uint8Array): Header | WireError => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes)
  const type = view.getUint8(0)
  const length = view.getUint32(1, true)
  if (length > payloadBytesMax) {
    return new WireError({ expected: `a frame of at most ${payloadBytesMax} bytes`, found: `${length}` })
  }
  const tag = executorTags.get(type)
  return length === 0 && neverEmpty.includes(tag)
    ? new WireError({ expected: `a frame ${tag} of some bytes`, found: "none" })
    : { type, length }
}

/** Whether it is a piece of an output, which is worth handing on before all of it has come. */
export const isContents = ({ type }: Header): boolean => executorTags.get(type) === "NarData"

/** `outputs`: how many were declared. */
export const decode = ({ type }: Header, payload: Uint8Array, outputs: number): FromExecutor | WireError => {
  const tag = executorTags.get(type)
  switch (tag) {
    case undefined:
      return new WireError({ expected: "a frame of the executor", found: `type ${type}` })
    case "Ready":
      return payload.length === 4 ? { _tag: tag, version: view(payload).getUint32(0, true) } : wrongLength(tag, payload)
    case "Log":
    case "NarData":
      return { _tag: tag, bytes: payload }
    case "NarEnd":
    case "Heartbeat":
    case "Booted":
      return payload.length === 0 ? { _tag: tag } : wrongLength(tag, payload)
    case "Exited":
      return exited(payload, outputs)
    case "NarRefused": {
      if (payload.length > 1 + refusedPathBytesMax) return wrongLength(tag, payload)
      const reason = refusals[(payload[0] ?? 0) - 1]
      return reason === undefined
        ? new WireError({ expected: "a reason for a refusal", found: `${payload[0]}` })
        : { _tag: tag, reason, path: Buffer.from(payload.subarray(1)).toString() }
    }
    case "Failed":
      return { _tag: tag, detail: Buffer.from(payload.subarray(0, 1024)).toString() }
  }
}

const exitedBytes = 58

/** What the executor says of a measure that it cannot take. */
const unknown = 2n ** 64n - 1n

const exited = (payload: Uint8Array, outputs: number): Exited | WireError => {
  const kind = exitKinds[payload[0] ?? exitKinds.length]
  const presence = payload.subarray(exitedBytes)
  if (payload.length !== exitedBytes + outputs) return wrongLength("Exited", payload)
  if (kind === undefined || presence.some((byte) => byte > 1)) {
    return new WireError({ expected: "how the builder ended", found: "other bytes" })
  }
  const numbers = view(payload)
  // What does not fit is measured wrong, by whoever got hold of the executor; it is only shown.
  const at = (index: number) => numbers.getBigUint64(2 + 8 * index, true)
  const number = (index: number) => Math.min(Number(at(index)), Number.MAX_SAFE_INTEGER)
  const measure = (index: number) => (at(index) === unknown ? null : number(index))
  return {
    _tag: "Exited",
    kind,
    value: payload[1] ?? 0,
    cpuUserMicroseconds: number(0),
    cpuSystemMicroseconds: number(1),
    residentBytesMax: number(2),
    scratchBytesFree: number(3),
    scratchInodesFree: number(4),
    memoryPeakBytes: measure(5),
    oomKills: measure(6),
    present: [...presence].map((byte) => byte === 1)
  }
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

const wrongLength = (tag: string, payload: Uint8Array) =>
  new WireError({ expected: `a frame ${tag} of its length`, found: `${payload.length} bytes` })
