import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as SystemCalls from "../../src/sandbox/SystemCalls.ts"
import * as processes from "../support/processes.ts"

const architectures = { x64: 0xc000003e, arm64: 0xc00000b7 }

/** What the kernel would make of a call, by its own account of the few instructions there are. */
const verdict = (
  machine: "arm64" | "x64",
  call: { number: number; architecture?: number; argument?: number },
  of: SystemCalls.Program = "disks"
) => {
  const program = Buffer.from(SystemCalls.filter(machine, of)!)
  const words = new Map([
    [0, call.number],
    [4, call.architecture ?? architectures[machine]],
    [16, call.argument ?? 0]
  ])
  let loaded = 0
  for (let at = 0; at < program.length;) {
    const code = program.readUInt16LE(at)
    const value = program.readUInt32LE(at + 4)
    const jump = (holds: boolean) => 8 * (1 + program[at + (holds ? 2 : 3)]!)
    if (code === 0x06) return value
    else if (code === 0x20) {
      loaded = words.get(value)!
      at += 8
    } else if (code === 0x15) at += jump(loaded === value)
    else if (code === 0x35) at += jump(loaded >= value)
    else if (code === 0x45) at += jump((loaded & value) !== 0)
    else throw new Error(`expected an instruction, found ${code}`)
  }
  throw new Error("expected an answer, found the end")
}

const [allow, kill, notPermitted, notThere] = [0x7fff0000, 0x80000000, 0x00050001, 0x00050026]
const threadFlags = 0x3d0f00

describe("SystemCalls", () => {
  it.each([
    ["reads", "x64", { number: 0 }, allow],
    ["reads", "arm64", { number: 63 }, allow],
    ["a thread", "x64", { number: 56, argument: threadFlags }, allow],
    ["a thread", "arm64", { number: 220, argument: threadFlags }, allow],
    ["a user namespace", "x64", { number: 56, argument: 0x10000000 | 17 }, notPermitted],
    ["a network namespace", "arm64", { number: 220, argument: 0x40000000 }, notPermitted],
    ["namespace flags elsewhere", "x64", { number: 0, argument: 0x10000000 }, allow],
    ["clone3", "x64", { number: 435 }, notThere],
    ["a connection", "x64", { number: 42 }, notPermitted],
    ["a connection", "arm64", { number: 203 }, notPermitted],
    ["the last of the table", "x64", { number: 169 }, notPermitted],
    ["the other numbers", "x64", { number: 0x40000000 + 42 }, kill],
    ["another machine's calls", "x64", { number: 0, architecture: 0x40000003 }, kill]
  ] as const)("answers %s on %s", (_, machine, call, expected) => {
    assert.strictEqual(verdict(machine, call), expected)
  })

  it.each([
    ["a socket in a directory", "x64", { number: 41, argument: 1 }, allow],
    ["a socket in a directory", "arm64", { number: 198, argument: 1 }, allow],
    ["a socket of a network", "x64", { number: 41, argument: 2 }, notPermitted],
    ["a socket to the host of the host", "x64", { number: 41, argument: 40 }, notPermitted],
    ["a socket to the host of the host", "arm64", { number: 198, argument: 40 }, notPermitted],
    ["a connection", "x64", { number: 42 }, allow],
    ["what is connected to", "x64", { number: 49 }, notPermitted],
    ["a look into another process", "arm64", { number: 117 }, notPermitted],
    ["a thread", "x64", { number: 56, argument: threadFlags }, allow],
    ["a user namespace", "x64", { number: 56, argument: 0x10000000 | 17 }, notPermitted],
    ["reads", "arm64", { number: 63, argument: 2 }, allow]
  ] as const)("answers QEMU %s on %s", (_, machine, call, expected) => {
    assert.strictEqual(verdict(machine, call, "machine"), expected)
  })

  it("knows no other machine", () => {
    assert.isNull(SystemCalls.filter("riscv64", "machine"))
  })

  it.effect("is a filter that the kernel takes, under which Node starts and cannot connect", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const file = path.join(yield* processes.directory, "filter")
        fs.writeFileSync(file, SystemCalls.filter(process.arch, "disks")!)
        const fd = fs.openSync(file, "r")
        const script = `require("net").connect("/nowhere").on("error", (error) => console.log(error.code))`

        const words = ["--ro-bind", "/", "/", "--seccomp", "3", "--", process.execPath, "-e", script]
        const { stderr, stdout } = spawnSync("bwrap", words, {
          stdio: ["ignore", "pipe", "pipe", fd],
          encoding: "utf8"
        })
        fs.closeSync(fd)

        assert.strictEqual(stdout, "EPERM\n", stderr)
      })
    )
  )
})
