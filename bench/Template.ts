/** A machine that has booted, as a file that others begin as copies of: as the product makes one, but in no jail. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { MachineState } from "../src/sandbox/microvm/MachineState.ts"
import * as Qemu from "../src/sandbox/microvm/Qemu.ts"
import * as Qmp from "../src/sandbox/microvm/Qmp.ts"

/** Makes `file`, and a socket beside it. `words`: QEMU's, for a template. */
export const make = async (architecture: Qemu.Architecture, words: ReadonlyArray<string>, file: string) => {
  const socketPath = path.join(path.dirname(file), Qemu.copySocket)
  const server = net.createServer().listen(socketPath)
  const connected = once(server, "connection")
  const child = spawn(Qemu.programs[architecture], words, {
    stdio: ["ignore", "ignore", "inherit", "ignore", "ignore", "pipe", "pipe"]
  })
  const closed = once(child, "close")
  try {
    // Its type knows of five, and not that a pipe is a socket.
    const pipes: ReadonlyArray<unknown> = child.stdio
    const [channel, monitor] = [pipes[Qemu.descriptors.channel], pipes[Qemu.descriptors.monitor]]
    if (!(channel instanceof net.Socket) || !(monitor instanceof net.Socket))
      throw new Error("there are no pipes to it")
    monitor.resume().write(Qmp.commands.begin)
    // Its first word is that it has booted.
    await once(channel, "data")
    for (const command of Qmp.commands.copyTo(socketPath)) monitor.write(command)
    const [socket]: ReadonlyArray<AsyncIterable<Uint8Array>> = await connected
    const state = new MachineState(Qemu.memoryNames[architecture])
    for await (const chunk of socket ?? []) fs.appendFileSync(file, state.push(chunk))
    if (!state.isWhole) throw new Error("expected the state of a machine, found half of one")
  } finally {
    server.close()
    child.kill("SIGKILL")
    await closed
  }
}
