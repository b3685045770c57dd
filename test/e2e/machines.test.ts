/** Builds in virtual machines, by a real client of the running product, emulated so that they run everywhere. */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import * as ProcessTable from "../support/ProcessTable.ts"
import * as World from "./World.ts"
import { derivation, schemes } from "./World.ts"

const world = World.opened({ arguments: ["--sandbox", "emulated"] })

const bootOf = (text: string) => /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(text)?.[0]

/** QEMUs of the server. */
const machines = () =>
  ProcessTable.familyOf(world.drover.process.pid).filter(({ command }) => /^[^\0]*qemu-system/.test(command))

describe.each(schemes)("a build over %s", (scheme) => {
  it("has a machine of its own, of which its record tells", async () => {
    const client = await world.client()
    const told = derivation("told", "$bb/busybox cat /proc/sys/kernel/random/boot_id; echo one > $out")

    const { err, out, status } = await client.build(told, scheme)

    assert.strictEqual(status, 0, err)
    assert.isDefined(bootOf(err))
    assert.notStrictEqual(bootOf(err), bootOf(readFileSync("/proc/sys/kernel/random/boot_id", "utf8")))
    assert.strictEqual(await client.store.must(["cat", out.trim()]), "one")
    const [build] = await world.drover.builds()
    assert.deepStrictEqual(
      build?.attempts.map(({ sandbox }) => sandbox),
      ["emulated"]
    )
  })

  it("takes its machine along when its client leaves", async () => {
    const client = await world.client()
    const building = client.startBuild(derivation("left", "echo begun; $bb/busybox sleep 100000"), scheme)
    await building.line(/^begun$/)
    assert.isNotEmpty(machines())

    building.signal("SIGINT", "group")
    await building.ended

    const left = () => [...machines(), ...readdirSync(path.join(world.drover.ready.data, "vms"))]
    while (left().length > 0) await new Promise((resolve) => setImmediate(resolve))
  })

  it("goes again in another machine when it loses its own", async () => {
    const client = await world.client()
    const lost = derivation("lost", "echo begun; $bb/busybox sleep 4; echo > $out")
    const building = client.startBuild(lost, scheme)
    await building.line(/^begun$/)

    for (const { pid } of machines()) process.kill(pid, "SIGKILL")

    const { err, status } = await building.ended
    assert.strictEqual(status, 0, err)
    await client.store.must(["nix-store", "--verify"])
    const [record] = await world.drover.builds()
    assert.deepStrictEqual(
      record?.attempts.map(({ outcome }) => outcome),
      ["lost", "succeeded"]
    )
  })
})
