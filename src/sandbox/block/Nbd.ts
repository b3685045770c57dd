/**
 * The server's side of NBD for one read-only export, without I/O: bytes in, what to do out.
 *
 *   server  "NBDMAGIC" "IHAVEOPT" u16 flags
 *   client  u32 flags
 *   client  { "IHAVEOPT" u32 option, u32 length, data }         server answers each
 *   client  { u32 magic, u16 flags, u16 command, u64 cookie, u64 offset, u32 length }
 *   server  { u32 magic, u32 error, u64 cookie, data }          in whichever order
 *
 * Numbers are big-endian. There is one export, whose name is empty, and it can be read and nothing else.
 *
 * The client may be a machine that a build has taken over. What it says is bounded before it is kept; what cannot be
 * understood ends the conversation, what may not be done is answered so.
 *
 * @see the NBD project's `doc/proto.md`
 */

/** Bytes that one request may ask for. Clients that ask how much, QEMU for one, cut theirs down to it. */
export const requestBytesMax = 1024 * 1024

/** An option is a name of at most 4096 bytes, its length, and a list of what the client would like to know. */
const optionBytesMax = 4096 + 4 + 2 + 2 * 64

export type Event =
  | { readonly _tag: "Send"; readonly bytes: Uint8Array }
  /** To be answered by `reply`, with an error if the disk does not give it. */
  | { readonly _tag: "Read"; readonly cookie: bigint; readonly offset: number; readonly length: number }
  /** The conversation is over; `reason` is null where the client has said so. */
  | { readonly _tag: "End"; readonly reason: string | null }

const option = { exportName: 1, abort: 2, list: 3, info: 6, go: 7 } as const
const answer = { ack: 1, server: 2, info: 3, unsupported: 2 ** 31 + 1, invalid: 2 ** 31 + 3, unknown: 2 ** 31 + 6 }
const command = { read: 0, write: 1, disconnect: 2, trim: 4, writeZeroes: 6 } as const

/** Of the system's error numbers, as NBD spells them. */
export const errors = { notPermitted: 1, inputOutput: 5, invalid: 22 } as const

const optionMagic = 0x49484156454f5054n
const answerMagic = 0x0003e889045565a9n
const requestMagic = 0x25609513
const replyMagic = 0x67446698
const replyHeadBytes = 16

const fixedNewstyle = 1
const noZeroes = 2
/** Flags are meant, and it is read-only. */
const exportFlags = 1 | 2

/** What a reply begins with. The bytes that were asked for follow if there was no error, else it is all. */
export const reply = (cookie: bigint, error = 0): Uint8Array => {
  const head = Buffer.allocUnsafe(replyHeadBytes)
  head.writeUInt32BE(replyMagic, 0)
  head.writeUInt32BE(error, 4)
  head.writeBigUInt64BE(cookie, 8)
  return head
}

type Phase = "flags" | "options" | "requests" | "ended"

const end = (reason: string | null): Event => ({ _tag: "End", reason })
const send = (...parts: ReadonlyArray<Uint8Array>): Event => ({ _tag: "Send", bytes: Buffer.concat(parts) })

export class Conversation {
  readonly #sizeBytes: number
  #phase: Phase = "flags"
  #zeroes = true
  #bytes: Buffer = Buffer.alloc(0)
  /** Bytes of a write's data that are still to come, and go nowhere. */
  #skip = 0

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes
  }

  /** What the server says first. */
  greeting(): Uint8Array {
    return Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), u16(fixedNewstyle | noZeroes)])
  }

  /** Keeps the chunk until it is used up. */
  push(chunk: Uint8Array): void {
    this.#bytes = this.#bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#bytes, chunk])
  }

  /** What comes next of what was pushed; null if that takes more bytes, or it is over. */
  next(): Event | null {
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, this.#bytes.length)
      this.#skip -= skipped
      this.#bytes = this.#bytes.subarray(skipped)
      if (this.#skip > 0) return null
    }
    switch (this.#phase) {
      case "flags":
        return this.#flags()
      case "options":
        return this.#option()
      case "requests":
        return this.#request()
      case "ended":
        return null
    }
  }

  #take(count: number): Buffer | null {
    if (this.#bytes.length < count) return null
    const taken = this.#bytes.subarray(0, count)
    this.#bytes = this.#bytes.subarray(count)
    return taken
  }

  #end(reason: string | null): Event {
    this.#phase = "ended"
    return end(reason)
  }

  #flags(): Event | null {
    const flags = this.#take(4)?.readUInt32BE()
    if (flags === undefined) return null
    if ((flags & fixedNewstyle) === 0 || flags > (fixedNewstyle | noZeroes)) {
      return this.#end(`expected a client of the fixed newstyle, found flags ${flags}`)
    }
    this.#zeroes = (flags & noZeroes) === 0
    this.#phase = "options"
    return this.#option()
  }

  #option(): Event | null {
    if (this.#bytes.length < 16) return null
    const magic = this.#bytes.readBigUInt64BE(0)
    const asked = this.#bytes.readUInt32BE(8)
    const length = this.#bytes.readUInt32BE(12)
    if (magic !== optionMagic) return this.#end(`expected an option, found ${magic.toString(16)}`)
    if (length > optionBytesMax) return this.#end(`expected at most ${optionBytesMax} bytes, found ${length}`)
    const data = this.#take(16 + length)?.subarray(16)
    if (data === undefined) return null
    switch (asked) {
      case option.exportName:
        if (data.length > 0) return this.#end(`expected the export without a name, found ${data.length} bytes`)
        this.#phase = "requests"
        return send(u64(this.#sizeBytes), u16(exportFlags), new Uint8Array(this.#zeroes ? 124 : 0))
      case option.abort:
        return this.#end(null)
      case option.list:
        if (data.length > 0) return send(answerTo(asked, answer.invalid))
        return send(answerTo(asked, answer.server, u32(0)), answerTo(asked, answer.ack))
      case option.info:
      case option.go:
        return this.#go(asked, data)
      default:
        return send(answerTo(asked, answer.unsupported))
    }
  }

  #go(asked: number, data: Buffer): Event {
    const nameLength = data.length < 6 ? null : data.readUInt32BE(0)
    const isWhole =
      nameLength !== null &&
      nameLength <= data.length - 6 &&
      data.length === 6 + nameLength + 2 * data.readUInt16BE(4 + nameLength)
    if (!isWhole) return send(answerTo(asked, answer.invalid))
    if (nameLength > 0) return send(answerTo(asked, answer.unknown))
    if (asked === option.go) this.#phase = "requests"
    return send(
      answerTo(asked, answer.info, u16(0), u64(this.#sizeBytes), u16(exportFlags)),
      // The least, the best, and the most to ask for at once.
      answerTo(asked, answer.info, u16(3), u32(1), u32(4096), u32(requestBytesMax)),
      answerTo(asked, answer.ack)
    )
  }

  #request(): Event | null {
    const request = this.#take(28)
    if (request === null) return null
    const magic = request.readUInt32BE(0)
    if (magic !== requestMagic) return this.#end(`expected a request, found ${magic.toString(16)}`)
    const asked = request.readUInt16BE(6)
    const cookie = request.readBigUInt64BE(8)
    const offset = Number(request.readBigUInt64BE(16))
    const length = request.readUInt32BE(24)
    switch (asked) {
      case command.read:
        return length > 0 && length <= requestBytesMax && offset + length <= this.#sizeBytes
          ? { _tag: "Read", cookie, offset, length }
          : send(reply(cookie, errors.invalid))
      case command.disconnect:
        return this.#end(null)
      case command.write:
        this.#skip = length
        return send(reply(cookie, errors.notPermitted))
      case command.trim:
      case command.writeZeroes:
        return send(reply(cookie, errors.notPermitted))
      default:
        return send(reply(cookie, errors.invalid))
    }
  }
}

const u16 = (value: number) => Buffer.of(value >> 8, value)
const u32 = (value: number) => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const u64 = (value: number) => {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

const answerTo = (asked: number, kind: number, ...data: ReadonlyArray<Uint8Array>): Uint8Array => {
  const body = Buffer.concat(data)
  const head = Buffer.allocUnsafe(20)
  head.writeBigUInt64BE(answerMagic, 0)
  head.writeUInt32BE(asked, 8)
  head.writeUInt32BE(kind, 12)
  head.writeUInt32BE(body.length, 16)
  return Buffer.concat([head, body])
}
