/** What builds reach that may have the network, and what those do that may not. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as IpPrefix from "../../../src/domain/IpPrefix.ts"
import type { Output } from "../../../src/protocol/nix/Derivation.ts"
import { findPasst } from "../../../src/sandbox/network/Network.ts"
import { Sandbox } from "../../../src/sandbox/Sandbox.ts"
import * as internet from "../../support/internet.ts"
import * as processes from "../../support/processes.ts"
import * as sandbox from "../../support/sandbox.ts"

const { addresses } = internet

/** A build whose output is known may have the network. */
const fixed: Output = {
  _tag: "Fixed",
  path: sandbox.outputPath("out"),
  method: "flat",
  algorithm: "sha256",
  hash: "0".repeat(64)
}

const build = path.resolve(import.meta.dirname, "../../../build")
const noRoute = "No route to host"

/** A backend in a small Internet, for which builds have the program `reach`. */
const backend = (egressAllow: ReadonlyArray<string>, passt = findPasst(build)) =>
  sandbox.layerWith((prepared) =>
    Effect.map(internet.make(prepared), (network) => ({
      egressAllow: egressAllow.map((text) => IpPrefix.parse(text)!),
      network: { ...network, passt }
    }))
  )

const pastaIn = (range: { readonly first: number; readonly count: number }) =>
  processes.running(range).find(({ fields }) => fields.get("Name")?.startsWith("passt"))

/** A program for Node that says what it meets at the address. */
const connecting = (address: string) => `
  require("node:net").connect(80, "${address}")
    .on("error", ({ code }) => console.log(code))
    .on("data", (bytes) => console.log(String(bytes)))`

/** What each of the commands says, of a build that may have the network. */
const said = Effect.fnUntraced(function* (
  commands: ReadonlyArray<string>,
  form: { readonly form?: Output } = { form: fixed }
) {
  const script = commands.map((command) => `{ ${command}; } 2>&1`).join("; ")
  const ended = yield* sandbox.run({ script, ...form })
  return { ...ended, lines: ended.log.trimEnd().split("\n") }
})

const reaching = (targets: ReadonlyArray<string>) => said(targets.map((target) => `reach ${target}`))

describe("a build that may have the network", () => {
  layer(backend([]), { timeout: "60 seconds" })((it) => {
    it.effect("reaches public addresses", () =>
      Effect.gen(function* () {
        const { lines, running } = yield* reaching([`${addresses.published} 80`, `${addresses.published6} 80`])

        assert.deepStrictEqual(lines, [addresses.published, addresses.published6])
        assert.isNull(running.withoutNetwork)
      })
    )

    it.effect("reaches nothing else", () =>
      Effect.gen(function* () {
        const { host, host6, metadata, private: own, private6, resolver } = addresses
        const targets = [own, private6, metadata, host, host6, resolver, "192.0.0.65", "::ffff:10.1.2.3"]

        const { lines } = yield* reaching(targets.map((address) => `${address} 80`))

        assert.deepStrictEqual(
          lines.map((line, index) => [targets[index], line]),
          targets.map((address) => [address, address === "192.0.0.65" ? "Connection refused" : noRoute])
        )
      })
    )

    it.effect("reaches nothing else by way of its interface, either", () =>
      Effect.gen(function* () {
        const { host, metadata, private: own, published } = addresses
        // All at once: this refusal takes the sender's own time.
        const bound = [published, own, metadata, host].map((address) => `reach ${address} 80 eth0 &`)

        const { lines } = yield* said([`${bound.join(" ")} wait`])

        assert.deepStrictEqual(lines.toSorted(), [published, noRoute, noRoute, noRoute].toSorted())
      })
    )

    it.effect("has a loopback of its own, and sockets of its own", () =>
      Effect.gen(function* () {
        const { lines } = yield* said(["reach 127.0.0.1 80", "reach ::1 80", "grep -c drover-test /proc/net/unix"])

        assert.deepStrictEqual(lines.slice(0, 3), ["Connection refused", "Connection refused", "0"])
      })
    )

    it.effect("asks the host's resolver, at an address of its own", () =>
      Effect.gen(function* () {
        const { lines } = yield* said([
          "cat /etc/resolv.conf /etc/services",
          "nslookup -type=a example.org | tail -n 2"
        ])

        assert.deepStrictEqual(lines.slice(0, 2), ["nameserver 192.0.0.53", "http 80/tcp"])
        assert.include(lines.join("\n"), `Address: ${addresses.published}`)
      })
    )

    it.effect("has no say over its network", () =>
      Effect.gen(function* () {
        const { lines } = yield* said([
          "ip route del default || true",
          "ip route add 10.0.0.0/8 dev eth0 || true",
          "echo 1 > /proc/sys/net/ipv4/ip_forward || true",
          "reach 10.1.2.3 80"
        ])

        assert.strictEqual(lines.filter((line) => line.includes("not permitted")).length, 2)
        assert.strictEqual(lines.at(-1), noRoute)
      })
    )

    it.effect("has it from processes that are nobody, and that end with it", () =>
      Effect.gen(function* () {
        const range = (yield* sandbox.Place).subUids!
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { start } = yield* Sandbox
            const { log } = yield* start(sandbox.job({ script: "echo ready; sleep 100", form: fixed }))
            yield* Stream.runHead(log)

            const found = processes.running(range)
            const pasta = pastaIn(range)
            assert.strictEqual(pasta?.fields.get("Seccomp"), "2")
            assert.strictEqual(pasta?.fields.get("NoNewPrivs"), "1")
            // Of a user namespace in which it is alone: to make sockets there, and to use the gate's.
            assert.strictEqual(pasta?.fields.get("CapEff"), "0000000000200400")
            assert.strictEqual(found.filter(({ uid }) => uid === pasta?.uid).length, 2)
          })
        )

        assert.deepStrictEqual(processes.running(range), [])
      })
    )

    it.effect("is held by the gate, should it come to rule its own network", () =>
      Effect.gen(function* () {
        const range = (yield* sandbox.Place).subUids!
        const { start } = yield* Sandbox
        const { log } = yield* start(sandbox.job({ script: "echo ready; sleep 100", form: fixed }))
        yield* Stream.runHead(log)
        const keeper = pastaIn(range)?.fields.get("PPid")
        const within = (...words: ReadonlyArray<string>) =>
          execFileSync("nsenter", [`--net=/proc/${keeper}/ns/net`, ...words], { encoding: "utf8" })

        within("ip", "route", "add", `${addresses.private}/32`, "via", "192.0.0.65")
        within("ip", "route", "del", "unreachable", "172.16.0.0/12")
        const met = [addresses.private, "172.16.0.1", addresses.published].map((address) =>
          within(process.execPath, "-e", connecting(address)).trim()
        )

        assert.deepStrictEqual(met, ["EHOSTUNREACH", "EHOSTUNREACH", addresses.published])
      })
    )

    it.effect("leaves nothing of it when what keeps it is killed", () =>
      Effect.gen(function* () {
        const range = (yield* sandbox.Place).subUids!
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { start } = yield* Sandbox
            const { log } = yield* start(sandbox.job({ script: "echo ready; sleep 100", form: fixed }))
            yield* Stream.runHead(log)
            const keeper = Number(pastaIn(range)?.fields.get("PPid"))
            const launcher = /^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${keeper}/status`, "utf8"))?.[1]

            process.kill(Number(launcher), "SIGKILL")
          })
        )

        assert.deepStrictEqual(processes.running(range), [])
      })
    )

    it.effect("is alone with its loopback if it is another", () =>
      Effect.gen(function* () {
        const { lines } = yield* said(["ip -o link | wc -l", "reach 12.34.56.78 80"], {})

        assert.deepStrictEqual(lines.slice(-2), ["1", "Network is unreachable"])
      })
    )
  })

  layer(backend(["10.1.2.0/24", `${addresses.host}/32`, "fd00:1234::/32"]), { timeout: "60 seconds" })((it) => {
    it.effect("reaches what the operator allows besides, but never the host", () =>
      Effect.gen(function* () {
        const { host, private: own, private6, resolver } = addresses

        const { lines } = yield* reaching([own, private6, resolver, host].map((address) => `${address} 80`))

        assert.deepStrictEqual(lines, [own, private6, noRoute, noRoute])
      })
    )
  })

  layer(backend([], null), { timeout: "60 seconds" })((it) => {
    it.effect("has none where passt is missing, and is told why", () =>
      Effect.gen(function* () {
        const { lines, running } = yield* said(["reach 12.34.56.78 80", "grep -c drover-test /proc/net/unix"])

        assert.deepStrictEqual(lines, ["Network is unreachable", "0"])
        assert.include(running.withoutNetwork, "passt is not installed")
      })
    )
  })

  layer(backend([], "/bin/false"), { timeout: "60 seconds" })((it) => {
    it.effect("has none where passt fails, and is told why", () =>
      Effect.gen(function* () {
        const { lines, running } = yield* said(["reach 12.34.56.78 80"])

        assert.deepStrictEqual(lines, ["Network is unreachable"])
        assert.include(running.withoutNetwork, "pasta has ended early")
      })
    )
  })
})
