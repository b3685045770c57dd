/**
 * Stands in for QEMU with a part to play: `node hostileQemu.ts PART`. Its descriptors are QEMU's: 5 is the channel, 6 is
 * the monitor. Nothing here ends by itself.
 */
import { Socket } from "node:net"

const channel = new Socket({ fd: 5 })
const monitor = new Socket({ fd: 6 })

const frame = (type: number, payload: Uint8Array): Buffer => {
  const header = Buffer.alloc(5)
  header[0] = type
  header.writeUInt32LE(payload.length, 1)
  return Buffer.concat([header, payload])
}
const say = (event: object) => monitor.write(`${JSON.stringify(event)}\n`)
const ready = (version: number) =>
  channel.write(Buffer.concat([frame(0x89, Buffer.alloc(0)), frame(0x81, Buffer.from([version, 0, 0, 0]))]))

/** Writes as fast as anybody reads, for ever. */
const flood = (to: NodeJS.WriteStream | Socket, bytes: Uint8Array): void => {
  while (to.write(bytes)) continue
  to.once("drain", () => flood(to, bytes))
}

const asked: Array<() => void> = []
monitor.on("data", (text: Buffer) => {
  for (const line of text.toString().trim().split("\n")) {
    if (line.includes("query-status")) for (const answer of asked.splice(0)) answer()
    say({ return: line.includes("query-status") ? { status: "running" } : {} })
  }
})
monitor.on("error", () => {})
channel.on("error", () => {})

const version = Number(process.argv[3])
const parts: { readonly [part: string]: () => void } = {
  mute: () => {},
  silent: () => ready(version),
  garbage: () => channel.write(Buffer.alloc(4096, 0xaa)),
  "a frame without end": () => channel.write(Buffer.from([0x82, 0xff, 0xff, 0xff, 0xff])),
  "a log that nobody asked for": () => flood(channel, frame(0x82, Buffer.alloc(65_536, "x"))),
  "another version": () => ready(version + 1),
  stop: () => say({ event: "STOP" }),
  panic: () => say({ event: "SHUTDOWN", data: { guest: true, reason: "guest-panic" } }),
  "a monitor that answers twice": () => {
    say({ return: {} })
    say({ return: {} })
  },
  "a monitor without end": () => flood(monitor, Buffer.alloc(65_536, "x")),
  "a console without end": () => {
    flood(process.stdout, Buffer.alloc(65_536, "x"))
    process.stderr.write("\u001b[31mred")
    setTimeout(() => process.exit(3), 50)
  },
  "a disk that fails just before the end": () => {
    asked.push(() => say({ event: "BLOCK_IO_ERROR", data: { "node-name": "store", operation: "read", reason: "EIO" } }))
    ready(version)
    channel.once("data", () => channel.write(frame(0x83, exited(1))))
  }
}

/** What an executor says of a builder that ended with the status. */
const exited = (status: number): Buffer => {
  const payload = Buffer.alloc(58 + 1)
  payload[0] = 0
  payload[1] = status
  payload.writeBigUInt64LE(2n ** 40n, 2 + 8 * 3)
  payload.writeBigUInt64LE(2n ** 40n, 2 + 8 * 4)
  return payload
}

say({ QMP: {} })
parts[process.argv[2] ?? ""]?.()
