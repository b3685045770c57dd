import { assert, describe, it } from "@effect/vitest"
import * as Jail from "../../../src/sandbox/microvm/Jail.ts"
import * as Qemu from "../../../src/sandbox/microvm/Qemu.ts"

const machine: Qemu.Machine = {
  architecture: "x86_64",
  accelerator: "tcg",
  cores: 3,
  memoryBytes: 2 ** 30 + 1,
  hasNetwork: false,
  origin: "booted",
  scratchBytes: 2 ** 36,
  counterKilohertz: 2_596_122,
  commandLine: "quiet panic=-1"
}

const architectures = ["x86_64", "aarch64"] as const
const accelerators = ["tcg", "kvm"] as const
const all = architectures.flatMap((architecture) =>
  accelerators.map(
    (accelerator) => [`${architecture} by ${accelerator}`, { ...machine, architecture, accelerator }] as const
  )
)

/** What follows an option, each time it is given. */
const after = (words: ReadonlyArray<string>, option: string) =>
  words.flatMap((word, index) => (word === option ? [words[index + 1] ?? ""] : []))

describe("the command line of QEMU", () => {
  it("says how large the machine is", () => {
    const words = Qemu.words(machine)

    assert.deepStrictEqual(after(words, "-smp"), ["3"])
    assert.deepStrictEqual(after(words, "-m"), ["1025M"])
    assert.deepStrictEqual(after(words, "-append"), ["quiet panic=-1 tsc_early_khz=2596122"])
  })

  it("tells an emulated x86 alone how fast its counter is, and only if that is known", () => {
    const others = all.filter(([name]) => name !== "x86_64 by tcg").map(([, one]) => one)

    for (const one of [...others, { ...machine, counterKilohertz: 0 }]) {
      assert.deepStrictEqual(after(Qemu.words(one), "-append"), ["quiet panic=-1"])
    }
  })

  it.each(all)("gives a machine of %s two disks, a port and no network", (_, one) => {
    const words = Qemu.words(one)

    assert.deepStrictEqual(
      after(words, "-device").flatMap((device) => /serial=(\w+)/.exec(device)?.[1] ?? []),
      ["store", "scratch"]
    )
    assert.isTrue(after(words, "-blockdev").some((disk) => /node-name=store,.*read-only=on/.test(disk)))
    assert.isTrue(words.includes("virtserialport,chardev=channel,name=drover.0"))
    assert.isTrue(words.includes("-nodefaults"))
    assert.isFalse(words.some((word) => /^-net|virtio-net|user,|^-nic/.test(word)))
  })

  it.each(all)("gives a machine of %s with a network one card, whose other end it is handed", (_, one) => {
    const words = Qemu.words({ ...one, hasNetwork: true })

    assert.deepStrictEqual(after(words, "-netdev"), ["tap,id=network,fd=8,vhost=off"])
    assert.lengthOf(
      after(words, "-device").filter((device) => device.startsWith("virtio-net-pci,netdev=network,")),
      1
    )
  })

  it.each(all)("offers no memory of a machine of %s to be merged with another's", (_, one) => {
    assert.include(after(Qemu.words(one), "-machine"), "mem-merge=off,dump-guest-core=off")
  })

  it.each(all)("leaves a machine of %s no program to start and no privilege to gain", (_, one) => {
    assert.deepStrictEqual(after(Qemu.words(one), "-sandbox"), [
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    ])
  })
})

describe("the jail around it", () => {
  const contents: Jail.Contents = {
    id: 7,
    directories: [{ source: "/data/vms/7", target: "/run" }],
    devices: [],
    keepsGroups: false
  }
  const words = Jail.words("/usr/bin/bwrap", contents, "/usr/bin/qemu", ["-version"])

  it("is another user's, who has nothing of the server's", () => {
    assert.deepStrictEqual(words.slice(0, 7), ["jail", "3", "7", "drop", "none", "/data/vms/7", "--"])
    assert.deepStrictEqual(words.slice(-3), ["--", "/usr/bin/qemu", "-version"])
  })

  it("is plugged into a network where there is one", () => {
    const plugged = Jail.words("/usr/bin/bwrap", { ...contents, network: 4711 }, "/usr/bin/qemu", [])

    assert.deepStrictEqual(plugged.slice(0, 5), ["jail", "3", "7", "drop", "4711"])
    assert.include(plugged, "--unshare-all")
  })

  it("has every namespace, no capability, and nothing that can be written", () => {
    for (const word of ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv"])
      assert.include(words, word)
    assert.deepStrictEqual(after(words, "--cap-drop"), ["ALL"])
    assert.notInclude(words, "--bind")
    assert.deepStrictEqual(after(words, "--dev-bind"), ["/dev/null", "/dev/urandom"])
  })
})
