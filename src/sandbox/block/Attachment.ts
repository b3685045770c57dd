/**
 * One client of one disk: its connection, driven by the conversation that they have.
 *
 * What it asks for is taken up only while what it has not yet taken is within a bound; past that it is not read from,
 * so neither a client that asks and never listens nor one that talks without end takes more than a fixed room.
 */
import type { Socket } from "node:net"
import type { Disk } from "./Disk.ts"
import * as Nbd from "./Nbd.ts"

/** Bytes of replies under way, from asked for to sent. QEMU has at most sixteen of them in flight. */
const underWayBytesMax = 4 * Nbd.requestBytesMax

/** What a request counts for beyond what it asks for, so that a thousand small ones are as much as there can be. */
const requestOverheadBytes = 4096

/** `ended` is told once: null when the client has left, else what it did that none does. */
export const attach = (
  socket: Socket,
  disk: Pick<Disk, "fill" | "sizeBytes">,
  ended: (reason: string | null) => void
): void => {
  const conversation = new Nbd.Conversation(disk.sizeBytes)
  let reading = 0
  let isOver = false

  const finish = (reason: string | null) => {
    if (isOver) return
    isOver = true
    socket.destroy()
    ended(reason)
  }

  const read = ({ cookie, length, offset }: Extract<Nbd.Event, { _tag: "Read" }>) => {
    reading += length + requestOverheadBytes
    const head = Nbd.reply(cookie)
    const bytes = Buffer.allocUnsafeSlow(head.length + length)
    bytes.set(head)
    disk.fill(bytes, head.length, { offset, length }, (error) => {
      reading -= length + requestOverheadBytes
      if (isOver) return
      socket.write(error === null ? bytes : Nbd.reply(cookie, Nbd.errors.inputOutput))
      proceed()
    })
  }

  let isProceeding = false
  const proceed = () => {
    // A read from memory is done before it returns, and comes back here.
    if (isProceeding) return
    isProceeding = true
    while (!isOver) {
      if (reading + socket.writableLength >= underWayBytesMax) {
        socket.pause()
        break
      }
      const event = conversation.next()
      if (event === null) {
        socket.resume()
        break
      }
      if (event._tag === "Read") read(event)
      else if (event._tag === "Send") socket.write(event.bytes)
      else finish(event.reason)
    }
    isProceeding = false
  }

  socket.on("data", (chunk) => {
    conversation.push(chunk)
    proceed()
  })
  socket.on("drain", proceed)
  socket.on("error", () => finish(null))
  socket.on("close", () => finish(null))
  socket.write(conversation.greeting())
  socket.resume()
}
