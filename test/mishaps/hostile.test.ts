/**
 * A QEMU that its guest has taken over, at its worst: a hostile program in its place, in the jail that QEMU has and
 * without the filter that QEMU sets itself. It reads, connects and signals whatever it can, floods its channel and ends
 * for nothing. A build of somebody else runs meanwhile, through the same block server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"
import * as Frame from "../../src/sandbox/executor/Frame.ts"
import * as MicroVmSandbox from "../../src/sandbox/microvm/MicroVmSandbox.ts"
import * as processes from "../support/processes.ts"
import * as sandbox from "../support/sandbox.ts"
import * as Rehearsal from "./Rehearsal.ts"

const source = path.join(import.meta.dirname, "hostile.c")

/** Listens where the server and others of this host do, and counts who comes. */
const listeners = Effect.fnUntraced(function* (places: ReadonlyArray<string | { readonly host: string }>) {
  let came = 0
  const servers = yield* Effect.forEach(places, (place) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = net.createServer((socket) => {
          came++
          socket.destroy()
        })
        await new Promise<void>((resolve, reject) => {
          server.once("error", reject)
          if (typeof place === "string") server.listen(place, resolve)
          else server.listen(0, place.host, resolve)
        })
        if (typeof place === "string" && path.isAbsolute(place)) fs.chmodSync(place, 0o777)
        return server
      }),
      (server) => Effect.sync(() => server.close())
    )
  )
  const addresses = servers.map((server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? `${address.address}:${address.port}` : null
  })
  return { addresses: addresses.filter((address) => address !== null), came: () => came }
})

/** Addresses of this host, by which its own services might be reached. */
const ownAddresses = () =>
  Object.values(os.networkInterfaces())
    .flat()
    .flatMap((each) => (each?.family === "IPv4" ? [each.address] : []))

/** What is said of each thing that was tried. */
const answersOf = (lines: ReadonlyArray<string>) =>
  lines.flatMap((line) => {
    const at = line.lastIndexOf(": ")
    return at < 0 ? [] : [{ tried: line.slice(0, at), got: line.slice(at + 2) }]
  })

describe("a QEMU that has been taken over", { timeout: 120_000 }, () => {
  it.live("finds nothing, reaches nobody, and is gone with its build", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { closure, data, machines, sound, subUids } = yield* Rehearsal.hall
        // What a server has there, readable for everybody, so that no mode is what keeps it.
        const secrets = ["ssh/host_key", "client/id_ed25519", "postgres/PG_VERSION", "nars/somebody"].map((name) =>
          path.join(data, name)
        )
        for (const file of secrets) {
          fs.mkdirSync(path.dirname(file), { recursive: true })
          fs.writeFileSync(file, "secret", { mode: 0o644 })
        }
        const sockets = [path.join(data, "postgres/.s.PGSQL.5432"), path.join(data, "operator.sock")]
        const abstract = `drover-test-${process.pid}`
        const { addresses, came } = yield* listeners([
          ...sockets,
          `\0${abstract}`,
          ...ownAddresses().map((host) => ({ host }))
        ])
        const guest = yield* processes.directory
        fs.cpSync(sound.directory, guest, { recursive: true, filter: (file) => path.basename(file) !== "parts" })
        const compiler = ["-std=gnu11", "-O1", "-static", `-DVERSION=${Frame.version}`]
        execFileSync("cc", [...compiler, "-o", path.join(guest, "hostile"), source])
        const system = ["/etc/shadow", "/etc/passwd", "/proc/1/environ", "/proc/self/status", "/sys/kernel/notes"]
        const devices = ["/dev/mem", "/dev/kvm", "/dev/vda", "/dev/sda", "/dev/net/tun", "/dev/fuse"]
        const targets = [
          ...[...secrets, ...system, ...devices, process.execPath, source].map((file) => `read ${file}`),
          ...["/x", "/tmp/x", "/run/x", "/guest/kernel", "/dev/x", "/usr/lib/x"].map((file) => `write ${file}`),
          ...[...sockets, `@${abstract}`, "/run/dbus/system_bus_socket"].map((name) => `unix ${name}`),
          // Its own disk lets one client in, and this is the one.
          ...["unix /run/store.sock", "unix /run/store.sock"],
          ...[...addresses, "169.254.169.254:80", "1.1.1.1:443", "10.0.2.2:22"].map((where) => `inet ${where}`)
        ]
        fs.writeFileSync(path.join(guest, "targets"), `${targets.join("\n")}\n`)
        const inputs = closure.map(({ narHash, path }) => ({ path, narHash, narSize: 1 }))
        const random = yield* SecureRandom.SecureRandom
        // As a template is lent, and readable for everybody likewise.
        const state = path.join(data, "state")
        const contents = "what others begin as copies of"
        fs.writeFileSync(state, contents, { mode: 0o444 })
        const stateFd = yield* Effect.acquireRelease(
          Effect.sync(() => fs.openSync(state, "r")),
          (fd) => Effect.sync(() => fs.closeSync(fd))
        )
        const begin = Effect.fnUntraced(function* (
          script: string,
          more: { readonly qemu?: string; readonly stateFd?: number } = {}
        ) {
          const job = { ...sandbox.job({ script, system: `${sound.arch}-linux` }), inputs }
          const { cores, memoryBytes } = job
          const own = more.qemu === undefined ? sound : { ...sound, directory: guest }
          const order = { guest: own, accelerator: "tcg", cores, memoryBytes, inputs, network: false, ...more } as const
          const isCopy = more.stateFd !== undefined
          return yield* MicroVmSandbox.run(yield* machines.open(order), job, random, { isCopy })
        })

        const bystander = yield* begin("echo begun; usleep 3000000; echo hi > $out")
        const lines = yield* Effect.scoped(
          Effect.gen(function* () {
            const hostile = yield* begin(":", { qemu: "/guest/hostile", stateFd })
            const said = yield* hostile.log.pipe(
              Stream.decodeText(),
              Stream.splitLines,
              Stream.takeUntil((line) => line === "done"),
              Stream.runCollect
            )
            // It writes as fast as anybody reads; this much of it is read, and then nobody waits any more.
            yield* hostile.log.pipe(Stream.take(200), Stream.runDrain)
            return [...said]
          })
        )
        const left = processes.running(subUids).filter(({ fields }) => fields.get("Name") === "hostile")
        yield* Stream.runDrain(bystander.log)
        const { exit } = yield* bystander.ended

        process.stdout.write(`${lines.join("\n")}\n`)
        const answers = answersOf(lines)
        const tried = (word: RegExp) => answers.filter(({ tried }) => word.test(tried))
        assert.isAtLeast(answers.length, targets.length)
        assert.deepStrictEqual(
          tried(
            /^(read|write|connect|setuid|setgid|mount|remount|umount|chroot|mknod|ptrace|bpf|open|priority|socket|change)/
          ).filter(({ got }) => got === "yes"),
          [{ tried: "connect /run/store.sock", got: "yes" }]
        )
        // Its own first process, and its own child.
        assert.deepStrictEqual(tried(/^processes to/), [{ tried: "processes to signal", got: "2" }])
        assert.isBelow(Number(tried(/^processes made/)[0]?.got), 1024)
        assert.sameMembers(
          lines.filter((line) => line.startsWith("writable ") || line.startsWith("special ")),
          ["writable /dev/null", "writable /dev/urandom"]
        )
        assert.strictEqual(came(), 0)
        assert.deepStrictEqual(
          tried(/^descriptor/).map(({ tried, got }) => `${tried.slice("descriptor ".length)} ${got}`),
          ["0 device", "1 socket", "2 socket", "4 file without a name", "5 socket", "6 socket", "8 file"]
        )
        assert.lengthOf(tried(/^change the state/), 13)
        assert.strictEqual(fs.readFileSync(state, "latin1"), contents)
        assert.deepStrictEqual(left, [])
        assert.deepStrictEqual(exit, { _tag: "Exited", status: 0 })
        assert.include((yield* sandbox.narOf(bystander)).toString("latin1"), "hi\n")
      })
    ).pipe(Effect.provide(SecureRandom.layerWebCrypto))
  )
})
