/** A client that says what OpenSSH never would: ssh2's, with its hands on the messages themselves. */
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import ssh2 from "ssh2"
import type { Door } from "./sshDoor.ts"

/** The parts of ssh2's client with which to say what it would not say by itself. */
export interface Protocol {
  readonly _packetRW: {
    readonly write: { allocStart: number; alloc(length: number): Buffer; finalize(packet: Buffer): Buffer }
  }
  readonly _cipher: { encrypt(packet: Buffer): void }
  parse(bytes: Buffer): void
  session(channel: number, window: number, packetSize: number): void
  channelData(channel: number, data: Buffer): void
}

export const protocolOf = (client: ssh2.Client) => (client as unknown as { readonly _protocol: Protocol })._protocol

/** Sends a message as it is, whole or not. */
export const send = (client: ssh2.Client, payload: Uint8Array) => {
  const {
    _cipher: cipher,
    _packetRW: { write }
  } = protocolOf(client)
  const start = write.allocStart
  const packet = write.alloc(payload.length)
  packet.set(payload, start)
  cipher.encrypt(write.finalize(packet))
}

/** A client of ssh2, let in with the right key. */
export const login = (door: Door): Effect.Effect<ssh2.Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback((resume) => {
      const client = new ssh2.Client()
      client.on("ready", () => resume(Effect.succeed(client)))
      client.on("error", () => {})
      client.connect({
        host: "127.0.0.1",
        port: door.port,
        username: "x",
        privateKey: fs.readFileSync(door.file("client")),
        algorithms: { kex: ["curve25519-sha256"], cipher: ["aes128-gcm@openssh.com"] }
      })
    }),
    (client) => Effect.sync(() => client.destroy())
  )

export const exec = (client: ssh2.Client, what: string) =>
  Effect.callback<ssh2.ClientChannel>((resume) => {
    client.exec("nix-daemon --stdio", { env: { DO: what } }, (error, channel) =>
      resume(error === undefined ? Effect.succeed(channel) : Effect.die(error))
    )
  })
