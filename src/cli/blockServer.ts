/**
 * The process that serves the disks of virtual machines: no keys, no database, and no files but NARs.
 *
 * The server starts it, in a jail, and is all that it talks to beside the machines whose connections it is given. It
 * ends when the server does.
 */
import type { Socket } from "node:net"
import type { Request } from "../sandbox/block/Control.ts"
import { Server } from "../sandbox/block/Server.ts"

// The channel to who started us is there, or we were started by somebody else.
const server = new Server((answer) => process.send!(answer))

// The other end is the server, which sends nothing else, and with it no other kind of handle.
process.on("message", (request: Request, socket) => server.receive(request, (socket ?? null) as Socket | null))
process.on("disconnect", () => process.exit(0))
process.send!({ _tag: "Ready" })
