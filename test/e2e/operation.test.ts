/** The server as its operator has it: what it prints, what its commands tell, and how it ends and comes again. */
import { assert, describe, it } from "@effect/vitest"
import { statSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import * as Drover from "../support/Drover.ts"
import * as Process from "../support/Process.ts"
import * as ProcessTable from "../support/ProcessTable.ts"
import * as World from "./World.ts"
import { derivation, sleep } from "./World.ts"

const world = World.opened()

const trivial = () => derivation("trivial", "echo trivial > $out")
const within = (file: string) => `within ${path.basename(file)}`

describe("a start", () => {
  it("says in one line where everything is", () => {
    const lines = world.drover.process.lines.filter(
      ({ from, text }) => from === "out" && text.startsWith("drover ready ")
    )
    const { data, http, key, knownHosts, ssh } = world.drover.ready

    assert.lengthOf(lines, 1)
    assert.match(ssh, /^127\.0\.0\.1:[1-9]\d*$/)
    assert.match(http, /^127\.0\.0\.1:[1-9]\d*$/)
    assert.strictEqual(data, path.join(world.directory, "drover/data"))
    for (const file of [key, knownHosts]) assert.isTrue(statSync(file).isFile(), within(file))
    // OpenSSH refuses a key that others can read.
    assert.strictEqual(statSync(key).mode & 0o077, 0)
  })

  it("answers over HTTP that it lives and is ready", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      assert.strictEqual((await fetch(`http://${world.drover.ready.http}${path}`)).status, 200, path)
    }
  })

  it("prints a nix-build command that works as it stands", async () => {
    const command = printed(/\bnix-build\b/)
    const store = await world.plainStore()

    const { err, out, status } = await store.run(["sh", "-c", command])

    assert.strictEqual(status, 0, `${command}\n${err}`)
    assert.match(out.trim(), /^\/nix\/store\/|result/)
  })

  it("prints a block of ssh_config and a line of /etc/nix/machines that work as they stand", async () => {
    const machines = path.join(world.directory, "machines")
    writeFileSync(machines, `${printed(/^\s*ssh(-ng)?:\/\/\S+ .*-linux/).trim()}\n`)
    const config = path.join(world.directory, "printed-ssh-config")
    writeFileSync(config, printedBlock())
    const store = await world.plainStore({ NIX_SSHOPTS: `-F ${config}` })

    const { err, status } = await store.run([
      "nix-build",
      "--no-out-link",
      "-j0",
      "--builders",
      `@${machines}`,
      "-E",
      trivial()
    ])

    assert.strictEqual(status, 0, `${world.drover.printed().join("\n")}\n${err}`)
  })

  it("refuses a value that makes no sense, by the option's name, and starts nothing", async () => {
    const words = [
      "npm",
      "--prefix",
      Drover.projectDirectory,
      "--silent",
      "start",
      "--",
      "--data-dir",
      path.join(world.directory, "never")
    ]
    for (const [option, value] of [
      ["--memory", "lots"],
      ["--cores", "-3"],
      ["--ssh-listen", "nowhere"],
      ["--sandbox", "prayer"]
    ] as const) {
      const { err, status } = await Process.run([...words, `${option}=${value}`])

      assert.isAbove(status ?? 0, 0)
      assert.include(err, option)
      assert.include(err, value)
    }
  })
})

describe("the SSH door", () => {
  it("answers what is no command of Nix's with one line and status 127", async () => {
    const { err, out, status } = await Process.run(["ssh", "-F", world.drover.sshConfig, "drover", "cat /etc/passwd"])

    assert.strictEqual(status, 127)
    assert.strictEqual(out, "")
    assert.lengthOf(err.trim().split("\n"), 1)
  })

  it("lets nobody in by a key that no account has", async () => {
    const key = path.join(world.directory, "stranger")
    await Process.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    const { knownHosts, ssh } = world.drover.ready
    const config = Drover.writeSshConfig(world.directory, "stranger", { address: ssh, user: "nix", key, knownHosts })

    const { err, status } = await Process.run(["ssh", "-F", config, "stranger", "nix-store --serve"])

    assert.strictEqual(status, 255)
    assert.include(err, "Permission denied (publickey)")
  })
})

describe("`builds list --json`", () => {
  it("tells of each build, the newest first", async () => {
    const client = await world.client()
    const [older, newer] = [trivial(), trivial()]
    for (const each of [older, newer]) assert.strictEqual((await client.build(each, "ssh-ng")).status, 0)

    const builds = await world.drover.builds()

    const [latest, before] = builds
    assert(latest !== undefined && before !== undefined)
    assert.strictEqual(latest.derivation, await client.derivation(newer))
    assert.strictEqual(before.derivation, await client.derivation(older))
    assert.match(latest.system, /-linux$/)
    assert.strictEqual(latest.state, "succeeded")
    assert.deepStrictEqual(latest.accounts, ["default"])
    assert.strictEqual(latest.reusedFrom, null)
    const [attempt] = latest.attempts
    assert(attempt !== undefined)
    assert.strictEqual(attempt.sandbox, "process")
    assert.strictEqual(attempt.outcome, "succeeded")
    assert.isAbove(attempt.cores, 0)
    assert.isAbove(attempt.memoryBytes, 0)
    for (const time of [attempt.startedAt, attempt.endedAt]) assert.match(`${time}`, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  })
})

// These end the server of this file, so they come last.
describe("a server", () => {
  it("that is told to end, even twice, ends well and leaves nothing", async () => {
    const client = await world.client()
    const pause = sleep()
    const building = client.startBuild(derivation("forever", `echo begun; ${pause.command}; echo > $out`), "ssh-ng")
    await building.line(/^begun$/)
    const sleeper = await pause.sleeper()
    const family = ProcessTable.familyOf(world.drover.process.pid)

    world.drover.process.signal("SIGTERM", "alone")
    const { err, status } = await world.drover.stop("SIGTERM")
    await building.ended

    assert.strictEqual(status, 0, err)
    assert.include(
      family.map(({ pid }) => pid),
      sleeper
    )
    const left = new Set(ProcessTable.list().map(({ command, pid }) => `${pid} ${command}`))
    assert.deepStrictEqual(
      family.map(({ command, pid }) => `${pid} ${command}`).filter((entry) => left.has(entry)),
      []
    )
  })
})

/** The one line that people are given of a kind. */
const printed = (pattern: RegExp) => {
  const line = world.drover.printed().find((line) => pattern.test(line))
  assert(line !== undefined, `expected a line like ${pattern}, found:\n${world.drover.printed().join("\n")}`)
  return line
}

/** The block of ssh_config: `Host` and what is indented below it. */
const printedBlock = () => {
  const lines = world.drover.printed()
  const begin = lines.findIndex((line) => /^\s*Host\s/.test(line))
  const indent = lines[begin]?.match(/^\s*/)?.[0].length ?? 0
  const length = lines.slice(begin + 1).findIndex((line) => line.search(/\S/) <= indent)
  assert(begin >= 0, `expected a line "Host …", found:\n${lines.join("\n")}`)
  return `${lines.slice(begin, length === -1 ? undefined : begin + 1 + length).join("\n")}\n`
}
