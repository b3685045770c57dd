/** Builds in virtual machines, by a real client of the running product, emulated so that they run everywhere. */
import { assert, describe, it } from "@effect/vitest"
import { createHash, randomUUID } from "node:crypto"
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import * as path from "node:path"
import * as ProcessTable from "../support/ProcessTable.ts"
import * as World from "./World.ts"
import { derivation, schemes } from "./World.ts"

const world = World.opened({ arguments: ["--sandbox", "emulated"] })

const bootOf = (text: string) => /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(text)?.[0]

/** QEMUs of the server. */
const machines = () =>
  ProcessTable.familyOf(world.drover.process.pid).filter(({ command }) => /^[^\0]*qemu-system/.test(command))

/** Of which others are to begin as copies: nobody's build runs in it, and its disks are no disks. */
const isTemplate = ({ command }: ProcessTable.Entry) => command.includes("driver=null-co")

/** Of what is open, without what tells one from another of its kind. */
const kindOf = (file: string) => file.replace(/:\[\d+\]$/, "")

/** What /proc tells of a process: who it is, what it may, where it is, and what it has open. */
const shown = (pid: number) => {
  const field = (name: string) => ProcessTable.statusOf(pid, name) ?? ""
  const spaces = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]
  return {
    ids: [...new Set([...field("Uid").split("\t"), ...field("Gid").split("\t")])],
    groups: field("Groups"),
    capabilities: [...new Set(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(field))],
    noNewPrivileges: field("NoNewPrivs"),
    seccomp: field("Seccomp"),
    namespaces: Object.fromEntries(spaces.map((space) => [space, readlinkSync(`/proc/${pid}/ns/${space}`)])),
    environment: readFileSync(`/proc/${pid}/environ`, "latin1")
      .split("\0")
      .filter((word) => word !== ""),
    files: [...new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => kindOf(readlinkSync(`/proc/${pid}/fd/${fd}`))))]
  }
}

/** What is no file of anybody's. */
const harmless = /^(socket|pipe)$|^anon_inode:|^\/dev\/(null|urandom)$/

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
    const shown = await world.drover.command("builds", "show", `${build?.id}`, "--json")
    // Its shape is what the test of the operator's commands is about.
    const { inputsRead } = JSON.parse(shown.out) as { readonly inputsRead: ReadonlyArray<{ readonly read: number }> }
    assert.deepStrictEqual(
      inputsRead.map(({ read }) => read),
      [1]
    )
  })

  it("has a network of its own if it is known what comes of it", async () => {
    const client = await world.client()
    const contents = randomUUID()
    const hash = createHash("sha256").update(contents).digest("hex")
    const fetching = derivation(
      "fetching",
      `$bb/busybox ip -o addr; $bb/busybox printf ${contents} > $out`,
      `outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "${hash}";`
    )

    const { err, status } = await client.build(fetching, scheme)

    assert.strictEqual(status, 0, err)
    assert.match(err, /eth0 +inet 192\.0\.0\.66\/30/)
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

describe("a build that needs more memory than its machine has", () => {
  it("goes again in a larger one, unseen: it has no last words", async () => {
    const client = await world.clientAsking("DROVER_DEFAULT_MEM=32M")
    const hungry = derivation(
      "hungry",
      `echo begun
       $bb/busybox head -c 120000000 /dev/zero | $bb/busybox tail -c 120000000 > held || { echo failed; exit 1; }
       $bb/busybox wc -c < held > $out; echo made`
    )

    const { err, out, status } = await client.build(hungry, "ssh-ng")

    assert.strictEqual(status, 0, err)
    assert.strictEqual(await client.store.must(["cat", out.trim()]), "120000000")
    assert.deepStrictEqual(err.match(/begun|failed|made|Killed|drover:.*/g), ["begun", "made"])
    const [build] = await world.drover.builds()
    const outcomes = build?.attempts.map(({ outcome }) => outcome) ?? []
    assert.deepStrictEqual([outcomes[0], outcomes.at(-1)], ["out-of-memory", "succeeded"])
  })
})

it("what a build could get hold of on this host is nobody, and has nothing", async () => {
  const client = await world.client()
  const building = client.startBuild(derivation("held", "echo begun; $bb/busybox sleep 100000"), "ssh-ng")
  await building.line(/^begun$/)
  const { data } = world.drover.ready
  const family = ProcessTable.familyOf(world.drover.process.pid)
  const server = family.find(({ command }) => command.includes("src/main.ts") && command.startsWith("/"))
  const qemu = machines().findLast((machine) => !isTemplate(machine))
  const disks = family.findLast(({ command }) => command.includes("blockServer.ts"))
  assert.isDefined(server)
  assert.isDefined(qemu)
  assert.isDefined(disks)

  const [us, machine, disk] = [shown(server.pid), shown(qemu.pid), shown(disks.pid)]
  const dataInSight = {
    machine: existsSync(`/proc/${qemu.pid}/root${data}`),
    disk: readdirSync(`/proc/${disks.pid}/root${data}`)
  }
  building.signal("SIGINT", "group")
  await building.ended

  for (const each of [machine, disk]) {
    assert.lengthOf(each.ids, 1)
    assert.notInclude(us.ids, each.ids[0])
    assert.strictEqual(each.groups, "")
    assert.deepStrictEqual(each.capabilities, ["0".repeat(16)])
    assert.strictEqual(each.noNewPrivileges, "1")
    assert.strictEqual(each.seccomp, "2")
    for (const [space, link] of Object.entries(us.namespaces))
      assert.notStrictEqual(each.namespaces[space], link, space)
  }
  assert.notDeepEqual(machine.ids, disk.ids)
  assert.deepStrictEqual(
    machine.files.filter((file) => !harmless.test(file)).map((file) => path.basename(file)),
    ["scratch (deleted)"]
  )
  assert.deepStrictEqual(
    disk.files.filter((file) => !harmless.test(file) && !file.startsWith(`${data}/nars/`)),
    []
  )
  assert.deepStrictEqual(machine.environment, ["PWD=/"])
  assert.sameMembers(
    disk.environment.map((word) => word.split("=")[0]),
    ["NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "PWD", "UV_THREADPOOL_SIZE"]
  )
  assert.deepStrictEqual(dataInSight, { machine: false, disk: ["nars"] })
})
