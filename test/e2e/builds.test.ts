/** Builds by a real client: what comes back, what is heard on the way, and who waits for whom. */
import { assert, describe, it } from "@effect/vitest"
import { createHash, randomUUID } from "node:crypto"
import type { Build } from "../support/Drover.ts"
import * as ProcessTable from "../support/ProcessTable.ts"
import * as World from "./World.ts"
import { derivation, schemes, sleep } from "./World.ts"

const world = World.opened()

const buildsOf = async (drv: string) => (await world.drover.builds()).filter(({ derivation }) => derivation === drv)

/** Asks until the builds of a derivation are as they should become. */
const eventually = async (drv: string, holds: (builds: ReadonlyArray<Build>) => boolean) => {
  while (true) {
    const builds = await buildsOf(drv)
    if (holds(builds)) return builds
  }
}

const outcomesOf = (build: Build | undefined) => build?.attempts.map(({ outcome }) => outcome)

describe.each(schemes)("a build over %s", (scheme) => {
  it("comes back with its outputs, its log heard", async () => {
    const client = await world.client()
    const made = derivation(
      "two",
      "echo making; echo one > $out; $bb/busybox mkdir $more; echo $out > $more/two",
      'outputs = [ "out" "more" ];'
    )

    const { err, out, status } = await client.build(made, scheme)

    assert.strictEqual(status, 0, err)
    assert.include(err, "making")
    const one = out.trim()
    const more = `${(await client.store.must(["nix-store", "-q", "--outputs", await client.derivation(made)])).split("\n").find((path) => path !== one)}`
    assert.strictEqual(await client.store.must(["cat", one]), "one")
    assert.strictEqual(await client.store.must(["cat", `${more}/two`]), one)
    assert.include(await client.store.must(["nix-store", "-q", "--references", more]), one)
    await client.store.must(["nix-store", "--verify", "--check-contents"])
  })

  it("is heard while it runs", async () => {
    const client = await world.client()
    const pause = sleep()
    const slow = derivation("slow", `echo begun; ${pause.command}; echo over; echo > $out`)

    const building = client.startBuild(slow, scheme)
    await building.line(/^begun$/)
    const [build] = await buildsOf(await client.derivation(slow))
    await pause.end()
    const { err, status } = await building.ended

    assert.strictEqual(build?.state, "building")
    assert.strictEqual(status, 0, err)
    assert.include(err, "over")
  })

  it("goes on from the outputs of another", async () => {
    const client = await world.client()
    const first = derivation("first", "echo first > $out")
    const second = derivation("second", "$bb/busybox cat $first > $out; echo second >> $out", `first = ${first};`)

    const { err, out, status } = await client.build(second, scheme)

    assert.strictEqual(status, 0, err)
    assert.strictEqual(await client.store.must(["cat", out.trim()]), "first\nsecond")
  })

  const failures: ReadonlyArray<{
    readonly name: string
    readonly script: string
    readonly attributes?: string
    readonly flags?: ReadonlyArray<string>
    /** Nix tells a remote builder of the client's own limits over `ssh` alone. */
    readonly scheme?: World.Scheme
    readonly says: RegExp
    readonly outcome: string
  }> = [
    { name: "the builder's status", script: "echo no; exit 7", says: /failed with exit code 7/, outcome: "failed" },
    {
      name: "closing its log",
      script: `exec > /dev/null 2>&1; ${sleep().command}`,
      says: /failed due to signal 9/,
      outcome: "failed"
    },
    { name: "an output that is not there", script: "true", says: /failed to produce output path/, outcome: "refused" },
    {
      name: "time",
      script: sleep().command,
      flags: ["--timeout", "1"],
      scheme: "ssh",
      says: /timed out/,
      outcome: "timed-out"
    },
    {
      name: "silence",
      script: sleep().command,
      flags: ["--max-silent-time", "1"],
      scheme: "ssh",
      says: /of silence/,
      outcome: "silent"
    },
    {
      name: "another hash than was promised",
      script: "echo other > $out",
      attributes: `outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "${"0".repeat(64)}";`,
      says: /hash mismatch in fixed-output derivation/,
      outcome: "refused"
    },
    {
      name: "a reference that is not allowed",
      script: "echo $bb > $out",
      attributes: "allowedReferences = [];",
      says: /is not allowed to refer to/,
      outcome: "refused"
    }
  ]
  for (const { attributes, flags = [], name, outcome, says, script, scheme: only = scheme } of failures) {
    if (only !== scheme) continue
    it(`fails for ${name}, and says so`, async () => {
      const client = await world.client()
      const failing = derivation("failing", script, attributes)

      const { err, status } = await client.build(failing, scheme, ...flags)

      assert.notStrictEqual(status, 0)
      assert.match(err, says)
      const [build] = await buildsOf(await client.derivation(failing))
      assert.deepStrictEqual(outcomesOf(build), [outcome])
    })
  }

  it("has a network of its own if it is known what comes of it", async () => {
    const client = await world.client()
    const contents = randomUUID()
    const hash = createHash("sha256").update(contents).digest("hex")
    const port = world.drover.ready.ssh.split(":").at(-1)
    const fetching = derivation(
      "fetching",
      `$bb/busybox ip -o link; $bb/busybox nc -w 9 127.0.0.1 ${port} || true; $bb/busybox printf ${contents} > $out`,
      `outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "${hash}";`
    )

    const { err, status } = await client.build(fetching, scheme)

    assert.strictEqual(status, 0, err)
    assert.include(err, ": eth0@")
    // The server's own door is at the loopback of another network.
    assert.match(err, /127\.0\.0\.1.*refused/)
  })

  it("ends with its client", async () => {
    const client = await world.client()
    const pause = sleep()
    const forever = derivation("forever", `echo begun; ${pause.command}; echo > $out`)
    const drv = await client.derivation(forever)

    const building = client.startBuild(forever, scheme)
    await building.line(/^begun$/)
    building.signal("SIGKILL")
    await building.ended

    const [build] = await eventually(drv, (builds) =>
      builds.some(({ attempts }) => attempts.every(({ endedAt }) => endedAt !== null))
    )
    assert.deepStrictEqual(outcomesOf(build), ["cancelled"])
    assert.strictEqual(build?.state, "cancelled")
    assert.deepStrictEqual(pause.sleepers(), [])
  })

  it("is one build for two who ask in its midst, and both hear all of it", async () => {
    const [early, late] = [await world.client(), await world.client()]
    const pause = sleep()
    // What no second run would say again.
    const chance = "$bb/busybox cat /proc/sys/kernel/random/uuid"
    const shared = derivation("shared", `echo first; ${chance}; ${pause.command}; ${chance} > $out; echo last`)

    const before = early.startBuild(shared, scheme)
    await before.line(/^first$/)
    const after = late.startBuild(shared, scheme)
    await after.line(/^first$/)
    await pause.end()
    const ends = await Promise.all([before.ended, after.ended])

    assert.deepStrictEqual(
      ends.map(({ status }) => status),
      [0, 0]
    )
    const heard = [before, after].map(({ lines }) =>
      lines.map(({ text }) => text).filter((text) => /^(first|last|[0-9a-f-]{36})$/.test(text))
    )
    assert.strictEqual(heard[0]?.length, 3)
    assert.deepStrictEqual(heard[0], heard[1])
    const builds = await buildsOf(await early.derivation(shared))
    assert.deepStrictEqual(builds.map(outcomesOf), [["succeeded"]])
    const [one, other] = await Promise.all(
      [early, late].map(({ store }, index) => store.must(["cat", `${ends[index]?.out.trim()}`]))
    )
    assert.strictEqual(one, other)
  })

  it("goes on for the second when the first leaves", async () => {
    const [first, second] = [await world.client(), await world.client()]
    const pause = sleep()
    const shared = derivation("left", `echo begun; ${pause.command}; echo > $out`)

    const leaving = first.startBuild(shared, scheme)
    await leaving.line(/^begun$/)
    const staying = second.startBuild(shared, scheme)
    await staying.line(/^begun$/)
    leaving.signal("SIGKILL")
    await leaving.ended
    await pause.end()
    const { err, status } = await staying.ended

    assert.strictEqual(status, 0, err)
    const builds = await buildsOf(await second.derivation(shared))
    assert.deepStrictEqual(builds.map(outcomesOf), [["succeeded"]])
  })
})

describe("a builder", () => {
  it("is nobody: a uid of its own, no capabilities, a filter, namespaces", async () => {
    const client = await world.client()
    const pause = sleep()

    const building = client.startBuild(derivation("waiting", `echo begun; ${pause.command}; echo > $out`), "ssh-ng")
    await building.line(/^begun$/)
    const sleeper = await pause.sleeper()
    const [uids, capabilities, filter, noNewPrivileges, ids] = ["Uid", "CapEff", "Seccomp", "NoNewPrivs", "NSpid"].map(
      (field) => ProcessTable.statusOf(sleeper, field)
    )
    await pause.end()
    await building.ended

    // As whom this machine sees it: no user of its own.
    for (const uid of `${uids}`.split("\t")) assert.isAbove(Number(uid), 65_535)
    assert.strictEqual(capabilities, "0000000000000000")
    assert.strictEqual(filter, "2")
    assert.strictEqual(noNewPrivileges, "1")
    assert.isAbove(`${ids}`.split("\t").length, 1)
  })
})
