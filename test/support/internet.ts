/**
 * A small Internet, in network namespaces of its own: a host, and everything else, with a wire between them.
 *
 * Every address answers on port 80 with itself, on the host and outside, so that who was reached is who is shown. One
 * address outside is a resolver that knows every name to be `published`.
 */
import { Effect } from "effect"
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import type * as Network from "../../src/sandbox/network/Network.ts"
import * as processes from "./processes.ts"
import type { Prepared } from "./sandbox.ts"

export const addresses = {
  published: "12.34.56.78",
  published6: "2600:1234::1",
  private: "10.1.2.3",
  private6: "fd00:1234::1",
  metadata: "169.254.169.254",
  resolver: "10.9.9.53",
  host: "11.0.0.2",
  host6: "2600::2"
} as const

const outside = [addresses.published, addresses.private, addresses.metadata, addresses.resolver]
const outside6 = [addresses.published6, addresses.private6]

/** Says which of its addresses was reached; the first 12 bytes of a DNS answer follow those of its question. */
const server = (resolver: string | null) => `
  require("node:net")
    .createServer((socket) => socket.on("error", () => {}).end(socket.localAddress.replace("::ffff:", "") + "\\n"))
    .listen(80, "::", () => console.log("ready"))
  require("node:net").createServer(() => {}).listen("\\0drover-test")
  const answer = (question) => Buffer.concat([
    question.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]),
    question.subarray(12, question.indexOf(0, 12) + 5),
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ${addresses.published.split(".").join(",")}])
  ])
  const resolver = ${JSON.stringify(resolver)}
  if (resolver !== null) {
    const socket = require("node:dgram").createSocket("udp4")
    socket.on("message", (question, { address, port }) => socket.send(answer(question), port, address))
    socket.bind(53, resolver)
  }`

/** A process that holds a network namespace. */
const namespace = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<number>((resolve) => {
        const child = spawn("unshare", ["--net", "sh", "-c", "echo; exec cat"], { stdio: ["pipe", "pipe", "inherit"] })
        child.stdout.once("data", () => resolve(child.pid!))
      })
  ),
  (pid) => Effect.sync(() => process.kill(pid, "SIGKILL"))
)

const within = (pid: number, words: ReadonlyArray<string>) => ["nsenter", `--net=/proc/${pid}/ns/net`, ...words]

const ip = (pid: number, ...commands: ReadonlyArray<string>) => {
  for (const command of commands) {
    const [program = "", ...words] = within(pid, ["ip", ...command.split(" ")])
    execFileSync(program, words)
  }
}

const serve = (pid: number, resolver: string | null) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<number>((resolve) => {
          const [program = "", ...words] = within(pid, [process.execPath, "-e", server(resolver)])
          const child = spawn(program, words, { stdio: ["ignore", "pipe", "inherit"] })
          child.stdout.once("data", () => resolve(child.pid!))
        })
    ),
    (pid) => Effect.sync(() => process.kill(pid, "SIGKILL"))
  )

/** How a backend is told that this is the network it is in. Its builds get the program `reach`. */
export const make = Effect.fnUntraced(function* ({ programs, starter, tools }: Prepared) {
  const source = path.join(import.meta.dirname, "reach.c")
  execFileSync("gcc", ["-static", "-o", path.join(tools, "bin/reach"), source], { stdio: "ignore" })
  const directory = yield* processes.directory
  const host = yield* namespace
  const others = yield* namespace
  ip(host, "link set lo up", `link add eth0 type veth peer name eth0 netns ${others}`)
  ip(host, `addr add ${addresses.host}/24 dev eth0`, `-6 addr add ${addresses.host6}/64 dev eth0 nodad`)
  ip(others, "link set lo up", "addr add 11.0.0.1/24 dev eth0", "-6 addr add 2600::1/64 dev eth0 nodad")
  ip(others, ...outside.map((address) => `addr add ${address}/32 dev lo`))
  ip(others, ...outside6.map((address) => `-6 addr add ${address}/128 dev lo nodad`))
  ip(others, "link set eth0 up")
  ip(host, "link set eth0 up", "route add default via 11.0.0.1", "-6 route add default via 2600::1")
  yield* serve(others, addresses.resolver)
  yield* serve(host, null)

  const wrapper = path.join(directory, "launcher")
  const namespaces = `--net=/proc/${host}/ns/net --mount=/proc/${starter}/ns/mnt`
  const command = `exec /usr/bin/nsenter ${namespaces} ${path.join(programs, "launcher")} "$@"`
  fs.writeFileSync(wrapper, `#!/bin/sh\n${command}\n`, { mode: 0o755 })
  const etc = path.join(directory, "etc")
  fs.mkdirSync(etc)
  fs.writeFileSync(path.join(etc, "resolv.conf"), `search example\nnameserver ${addresses.resolver}\n`)
  fs.writeFileSync(path.join(etc, "hosts"), `127.0.0.1 localhost\n${addresses.published} mirror\n`)
  fs.writeFileSync(path.join(etc, "services"), "http 80/tcp\n")
  return { launcher: wrapper, places: { process: `/proc/${host}`, etc } } satisfies Partial<Network.Options>
})
