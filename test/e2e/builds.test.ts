/** Builds by a real client: what comes back, what is heard on the way, and who waits for whom. */
import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import type { Build } from "../support/Drover.ts"
import * as World from "./World.ts"
import { derivation, schemes } from "./World.ts"

const world = World.opened()

const buildsOf = async (drv: string) => (await world.drover.builds()).filter(({ derivation }) => derivation === drv)

/** Asks until the builds of a derivation are as they should become. */
const eventually = async (drv: string, holds: (builds: ReadonlyArray<Build>) => boolean) => {
  while (true) {
    const builds = await buildsOf(drv)
    if (holds(builds)) return builds
  }
}

const isRunning = ({ endedAt }: Build["attempts"][number]) => endedAt === null

describe.each(schemes)("a build over %s", (scheme) => {
  it("comes back with its outputs, its log heard", async () => {
    const client = await world.client()
    const made = derivation(
      "two",
      "echo making; echo one > $out; $bb mkdir $more; echo $out > $more/two",
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
    const slow = derivation("slow", "echo begun; $bb sleep 3; echo over; echo > $out")
    const drv = await client.derivation(slow)

    const building = client.startBuild(slow, scheme)
    await building.line(/^begun$/)
    const [build] = await buildsOf(drv)
    const heardBefore = building.lines.some(({ text }) => text === "over")
    const { status } = await building.ended

    assert.strictEqual(build?.state, "building")
    assert.isFalse(heardBefore)
    assert.strictEqual(status, 0)
  })

  it("goes on from the outputs of another", async () => {
    const client = await world.client()
    const first = derivation("first", "echo first > $out")
    const second = derivation("second", "$bb cat $first > $out; echo second >> $out", `first = ${first};`)

    const { err, out, status } = await client.build(second, scheme)

    assert.strictEqual(status, 0, err)
    assert.strictEqual(await client.store.must(["cat", out.trim()]), "first\nsecond")
  })

  const failures: ReadonlyArray<{
    readonly name: string
    readonly script: string
    readonly attributes?: string
    readonly flags?: ReadonlyArray<string>
    readonly says: RegExp
    readonly outcome: string
  }> = [
    { name: "the builder's status", script: "echo no; exit 7", says: /failed with exit code 7/, outcome: "failed" },
    { name: "a signal", script: "kill -SEGV $$", says: /failed due to signal 11/, outcome: "failed" },
    { name: "an output that is not there", script: "true", says: /failed to produce output path/, outcome: "failed" },
    { name: "time", script: "$bb sleep 600", flags: ["--timeout", "1"], says: /timed out/, outcome: "timed-out" },
    {
      name: "silence",
      script: "$bb sleep 600",
      flags: ["--max-silent-time", "1"],
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
  for (const { attributes, flags = [], name, outcome, says, script } of failures) {
    it(`fails for ${name}, and says so`, async () => {
      const client = await world.client()
      const failing = derivation("failing", script, attributes)

      const { err, status } = await client.build(failing, scheme, ...flags)

      assert.notStrictEqual(status, 0)
      assert.match(err, says)
      const [build] = await buildsOf(await client.derivation(failing))
      assert.deepStrictEqual(
        build?.attempts.map((attempt) => attempt.outcome),
        [outcome]
      )
    })
  }

  it("ends with its client", async () => {
    const client = await world.client()
    const forever = derivation("forever", "echo begun; $bb sleep 3600; echo > $out")
    const drv = await client.derivation(forever)

    const building = client.startBuild(forever, scheme)
    await building.line(/^begun$/)
    building.signal("SIGKILL")
    await building.ended

    const [build] = await eventually(drv, (builds) =>
      builds.some(({ attempts }) => attempts.every((it) => !isRunning(it)))
    )
    assert.deepStrictEqual(
      build?.attempts.map(({ outcome }) => outcome),
      ["cancelled"]
    )
    assert.strictEqual(build?.state, "cancelled")
  })

  it("is one build for two who ask in its midst, and both hear all of it", async () => {
    const [early, late] = [await world.client(), await world.client()]
    const shared = derivation(
      "shared",
      "echo first; $bb cat /proc/sys/kernel/random/uuid; $bb sleep 4; $bb cat /proc/sys/kernel/random/uuid > $out; echo last"
    )

    const before = early.startBuild(shared, scheme)
    await before.line(/^first$/)
    const after = late.startBuild(shared, scheme)
    await after.line(/^first$/)
    const [build] = await buildsOf(await early.derivation(shared))
    const ends = await Promise.all([before.ended, after.ended])

    assert.strictEqual(build?.state, "building")
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
    assert.deepStrictEqual(
      builds.map(({ attempts }) => attempts.length),
      [1]
    )
    const outputs = await Promise.all(
      [early, late].map(({ store }, index) => store.must(["cat", `${ends[index]?.out.trim()}`]))
    )
    assert.strictEqual(outputs[0], outputs[1])
  })

  it("goes on for the second when the first leaves", async () => {
    const [first, second] = [await world.client(), await world.client()]
    const shared = derivation("left", "echo begun; $bb sleep 4; echo > $out")

    const leaving = first.startBuild(shared, scheme)
    await leaving.line(/^begun$/)
    const staying = second.startBuild(shared, scheme)
    await staying.line(/^begun$/)
    leaving.signal("SIGKILL")
    const { err, status } = await staying.ended

    assert.strictEqual(status, 0, err)
    const builds = await buildsOf(await second.derivation(shared))
    assert.deepStrictEqual(
      builds.map(({ attempts }) => attempts.map(({ outcome }) => outcome)),
      [["succeeded"]]
    )
  })
})

describe("a builder", () => {
  it("is nobody: a uid of its own, no capabilities, a filter, namespaces", async () => {
    const client = await world.client()
    const mark = `mark-${process.pid}-${Date.now()}`
    const waiting = derivation("waiting", `echo begun; $bb sleep 3599; echo ${mark} > $out`)

    const building = client.startBuild(waiting, "ssh-ng")
    await building.line(/^begun$/)
    const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && commandOf(name).includes("sleep\x003599"))
    const status = readFileSync(`/proc/${pid}/status`, "utf8")
    building.signal("SIGKILL")
    await building.ended

    const field = (name: string) => status.match(new RegExp(`^${name}:\\s*(.*)$`, "m"))?.[1]
    const uids = field("Uid")?.split("\t").map(Number) ?? []
    assert.lengthOf(uids, 4)
    for (const uid of uids) assert.isAbove(uid, 65_535)
    assert.strictEqual(field("CapEff"), "0000000000000000")
    assert.strictEqual(field("Seccomp"), "2")
    assert.strictEqual(field("NoNewPrivs"), "1")
    assert.isAbove(field("NSpid")?.split("\t").length ?? 0, 1)
  })
})

const commandOf = (pid: string) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1")
  } catch {
    // It has ended since it was listed.
    return ""
  }
}
