/** What builds in machines reach that may have the network: what they do as processes, by a card of their own. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Output } from "../../../src/protocol/nix/Derivation.ts"
import { findPasst } from "../../../src/sandbox/network/Network.ts"
import { Sandbox } from "../../../src/sandbox/Sandbox.ts"
import * as internet from "../../support/internet.ts"
import * as processes from "../../support/processes.ts"
import * as sandbox from "../../support/sandbox.ts"
import * as vm from "../../support/vm.ts"

const { addresses } = internet

const fixed: Output = {
  _tag: "Fixed",
  path: sandbox.outputPath("out"),
  method: "flat",
  algorithm: "sha256",
  hash: "0".repeat(64)
}

const build = path.resolve(import.meta.dirname, "../../../build")

/** The backend in a small Internet; whatever it launches, it launches there. */
const backend = vm.layerWith((prepared) =>
  Effect.gen(function* () {
    const network = yield* internet.make(prepared)
    const programDirectory = yield* processes.directory
    for (const name of fs.readdirSync(prepared.programs)) {
      if (name !== "launcher") fs.symlinkSync(path.join(prepared.programs, name), path.join(programDirectory, name))
    }
    fs.symlinkSync(network.launcher, path.join(programDirectory, "launcher"))
    return { programDirectory, network: { ...network, passt: findPasst(build) } }
  })
)

/** What each of the commands says. */
const said = Effect.fnUntraced(function* (
  commands: ReadonlyArray<string>,
  more: Partial<sandbox.Script> = { form: fixed }
) {
  const { start } = yield* Sandbox
  const script = commands.map((command) => `{ ${command}; } 2>&1`).join("; ")
  const running = yield* start(yield* vm.job({ script, ...more }))
  const log = Buffer.concat([...(yield* Stream.runCollect(running.log))]).toString()
  return { running, lines: log.trimEnd().split("\n"), ...(yield* running.ended) }
})

const noRoute = "No route to host"

layer(backend, { timeout: "120 seconds", excludeTestServices: true })((it) => {
  describe("a build in a machine that may have the network", { timeout: 120_000 }, () => {
    it.effect("reaches public addresses, by the host's resolver, and nothing else", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { host, host6, metadata, private: own, private6, published, published6, resolver } = addresses
          const reached = [published, published6]
          const refused = [own, private6, metadata, host, host6, resolver]

          const { lines, running } = yield* said([
            ...[...reached, ...refused].map((address) => `reach ${address} 80`),
            // Not by its guest's routes, either, which are no part of the policy.
            `reach ${published} 80 eth0`,
            `reach ${own} 80 eth0`,
            "reach 192.0.0.65 80",
            "reach 127.0.0.1 80",
            "cat /etc/resolv.conf",
            "nslookup -type=a example.org | tail -n 2"
          ])

          assert.isNull(running.withoutNetwork)
          assert.deepStrictEqual(lines.slice(0, 8), [...reached, ...refused.map(() => noRoute)])
          assert.deepStrictEqual(lines.slice(8, 13), [
            published,
            noRoute,
            "Connection refused",
            "Connection refused",
            "nameserver 192.0.0.53"
          ])
          assert.include(lines.join("\n"), `Address: ${published}`)
        })
      )
    )

    it.effect("has it by a port alone: QEMU is in no network, and all is gone with it", () =>
      Effect.gen(function* () {
        const { subUids } = yield* vm.Place
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { start } = yield* Sandbox
            const { log } = yield* start(yield* vm.job({ script: "echo ready; sleep 1000", form: fixed }))
            yield* Stream.runHead(log)

            const found = processes.running(subUids)
            const named = (name: string) => found.filter(({ fields }) => fields.get("Name")?.startsWith(name))
            const [qemu] = named("qemu-system")
            assert.isDefined(qemu)
            assert.match(qemu.fields.get("CapEff") ?? "", /^0+$/)
            const links = execFileSync("nsenter", [`--net=/proc/${qemu.pid}/ns/net`, "ip", "-o", "link"]).toString()
            assert.match(links, /^1: lo: [^\n]*\n$/)
            // Nobody but pasta is in the network of the host, and it has an id of its own.
            const [pasta] = named("passt")
            assert.notStrictEqual(pasta?.uid, qemu.uid)
            const host = fs.readlinkSync(`/proc/${pasta?.pid}/ns/net`)
            assert.lengthOf(
              found.filter(({ pid }) => fs.readlinkSync(`/proc/${pid}/ns/net`) === host),
              1
            )
          })
        )

        assert.deepStrictEqual(processes.running(subUids), [])
      })
    )

    it.effect("is alone with its loopback if it is another", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { lines } = yield* said(["ip -o link | wc -l", "reach 12.34.56.78 80"], {})

          assert.deepStrictEqual(lines.slice(-2), ["1", "Network is unreachable"])
        })
      )
    )
  })
})
