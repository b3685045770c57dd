/** What builds reach that may have the network, and what those do that may not. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as path from "node:path"
import * as IpPrefix from "../../../src/domain/IpPrefix.ts"
import type { Output } from "../../../src/protocol/nix/Derivation.ts"
import { findPasst } from "../../../src/sandbox/network/Network.ts"
import * as internet from "../../support/internet.ts"
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
        const { host, metadata, private: own } = addresses
        const targets = [own, metadata, host].map((address) => `${address} 80 eth0`)

        const { lines } = yield* reaching([`${addresses.published} 80 eth0`, ...targets])

        assert.deepStrictEqual(lines, [addresses.published, noRoute, noRoute, noRoute])
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
