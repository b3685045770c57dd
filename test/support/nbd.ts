/** A client of NBD: as much of one as a test needs to read a disk, and to say what no honest client says. */
import * as net from "node:net"

export interface Client {
  readonly socket: net.Socket
  /** Exactly so many of the next bytes; fails if the connection ends before. */
  readonly take: (count: number) => Promise<Buffer>
  readonly closed: Promise<void>
}

export const connect = async (path: string): Promise<Client> => {
  const socket = net.connect(path)
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve)
    socket.once("error", reject)
  })
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  socket.on("error", () => {})
  let held = Buffer.alloc(0)
  let changed = () => {}
  socket.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    changed()
  })
  socket.on("close", () => changed())
  const take = async (count: number): Promise<Buffer> => {
    while (held.length < count) {
      if (socket.destroyed) throw new Error(`expected ${count} bytes, found the end`)
      await new Promise<void>((resolve) => {
        changed = resolve
      })
    }
    const taken = held.subarray(0, count)
    held = held.subarray(count)
    return taken
  }
  return { socket, take, closed }
}

export const option = (code: number, data: Uint8Array = new Uint8Array(0)): Buffer => {
  const head = Buffer.alloc(16)
  head.write("IHAVEOPT")
  head.writeUInt32BE(code, 8)
  head.writeUInt32BE(data.length, 12)
  return Buffer.concat([head, data])
}

/** The data of INFO and GO: a name, and nothing in particular that one wants to know. */
export const named = (name = ""): Buffer => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(name))
  return Buffer.concat([length, Buffer.from(name), Buffer.alloc(2)])
}

export const clientFlags = Buffer.from([0, 0, 0, 3])

export const request = (command: number, cookie: number, offset: number | bigint, length: number): Buffer => {
  const bytes = Buffer.alloc(28)
  bytes.writeUInt32BE(0x25609513, 0)
  bytes.writeUInt16BE(command, 6)
  bytes.writeBigUInt64BE(BigInt(cookie), 8)
  bytes.writeBigUInt64BE(BigInt(offset), 16)
  bytes.writeUInt32BE(length, 24)
  return bytes
}

/** Agrees on the export, and returns how long it is. */
export const go = async ({ socket, take }: Client): Promise<number> => {
  await take(18)
  socket.write(clientFlags)
  socket.write(option(7, named()))
  let size = 0
  for (;;) {
    const head = await take(20)
    const data = await take(head.readUInt32BE(16))
    const kind = head.readUInt32BE(12)
    if (kind === 1) return size
    if (kind !== 3) throw new Error(`expected information on the export, found ${kind.toString(16)}`)
    if (data.readUInt16BE(0) === 0) size = Number(data.readBigUInt64BE(2))
  }
}

/** One read, alone. */
export const read = async ({ socket, take }: Client, offset: number, length: number): Promise<Buffer> => {
  socket.write(request(0, 7, offset, length))
  const head = await take(16)
  const error = head.readUInt32BE(4)
  if (error !== 0) throw new Error(`refused with ${error}`)
  return take(length)
}

/** The whole disk. */
export const readAll = async (client: Client, sizeBytes: number): Promise<Buffer> => {
  const parts: Array<Buffer> = []
  const step = 1024 * 1024
  for (let at = 0; at < sizeBytes; at += step) parts.push(await read(client, at, Math.min(step, sizeBytes - at)))
  return Buffer.concat(parts)
}
