/** What the machines boot from: composed to the same bytes from the same parts, in the form that kernels read. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { execFileSync } from "node:child_process"

interface Entry {
  readonly name: string
  readonly type: "directory" | "file" | "device"
  readonly mode: number
  readonly contents?: Uint8Array
  readonly major?: number
  readonly minor?: number
}
interface Module {
  readonly name: string
  readonly contents: Uint8Array
}

// The bootstrap is plain JavaScript, and so has no types to import.
const load = (name: string) => {
  const module = `../../bootstrap/guest/${name}`
  return import(module)
}
const { cpio }: { readonly cpio: (entries: ReadonlyArray<Entry>) => Buffer } = await load("cpio.mjs")
const { compose }: { readonly compose: (parts: object) => Buffer } = await load("initramfs.mjs")
const {
  loadOrder,
  needsOf,
  unsigned
}: {
  readonly loadOrder: (wanted: ReadonlyArray<string>, read: (name: string) => Buffer | null) => ReadonlyArray<Module>
  readonly needsOf: (contents: Buffer) => ReadonlyArray<string>
  readonly unsigned: (contents: Buffer) => Buffer
} = await load("modules.mjs")
const {
  bareKernel
}: { readonly bareKernel: (image: Buffer, run: (argv: ReadonlyArray<string>, input: Buffer) => Buffer) => Buffer } =
  await load("kernel.mjs")

interface Read {
  readonly name: string
  readonly inode: number
  readonly mode: number
  readonly modified: number
  readonly device: readonly [number, number]
  readonly contents: string
}

/** An archive as the kernel's documentation has it. */
const read = (archive: Buffer) => {
  const found: Array<Read> = []
  const aligned = (offset: number) => Math.ceil(offset / 4) * 4
  for (let at = 0; at < archive.length;) {
    assert.strictEqual(archive.toString("latin1", at, at + 6), "070701")
    const field = (index: number) => parseInt(archive.toString("latin1", at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const named = at + 110
    const contents = aligned(named + field(11))
    found.push({
      name: archive.toString("utf8", named, named + field(11) - 1),
      inode: field(0),
      mode: field(1),
      modified: field(5),
      device: [field(9), field(10)],
      contents: archive.toString("latin1", contents, contents + field(6))
    })
    at = aligned(contents + field(6))
  }
  return found
}

const file = (name: string, text: string): Entry => ({ name, type: "file", mode: 0o644, contents: Buffer.from(text) })

describe("an initramfs", () => {
  const parts = {
    executor: Buffer.from("program"),
    shell: Buffer.from("shell"),
    modules: [
      { name: "order", contents: Buffer.from("a.ko\n") },
      { name: "a.ko", contents: Buffer.from("module") }
    ]
  }

  it("has the executor as its first program, the shell, the modules and a console", () => {
    const names = read(compose(parts)).map(({ contents, mode, name }) => [name, mode.toString(8), contents])

    assert.deepStrictEqual(names, [
      ["dev", "40755", ""],
      ["dev/console", "20600", ""],
      ["init", "100755", "program"],
      ["modules", "40755", ""],
      ["modules/a.ko", "100644", "module"],
      ["modules/order", "100644", "a.ko\n"],
      ["sh", "100755", "shell"],
      ["TRAILER!!!", "0", ""]
    ])
  })

  it("is the same whichever way its parts were listed", () => {
    const other = compose({ ...parts, modules: parts.modules.toReversed() })

    assert.isTrue(compose(parts).equals(other))
  })
})

describe("an archive", () => {
  const Name = Schema.String.check(Schema.isPattern(/^[a-z]{1,9}$/))

  it.prop(
    "gives back what was put in, in the order of names and with nothing of the time or place it was made",
    [Schema.Array(Schema.Tuple([Name, Schema.String]))],
    ([pairs]) => {
      const entries = [...new Map(pairs)].map(([name, text]) => file(name, text))
      const found = read(cpio(entries)).slice(0, -1)
      const sorted = entries.toSorted((one, other) => (one.name < other.name ? -1 : 1))

      assert.deepStrictEqual(
        found.map(({ contents, name }) => [name, contents]),
        sorted.map(({ contents, name }) => [name, Buffer.from(contents!).toString("latin1")])
      )
      assert.deepStrictEqual(
        found.map(({ inode, modified }) => [inode, modified]),
        sorted.map((_, index) => [index + 1, 0])
      )
    }
  )

  it("has devices by their numbers", () => {
    const [console] = read(cpio([{ name: "c", type: "device", mode: 0o600, major: 5, minor: 1 }]))

    assert.deepStrictEqual([console!.mode, console!.device], [0o20600, [5, 1]])
  })
})

/** As the linker leaves the section `.modinfo` in a module. */
const module = (...facts: ReadonlyArray<string>) => Buffer.from(`ELF\0${facts.map((fact) => `${fact}\0`).join("")}rest`)

describe("the order of modules", () => {
  const kernel: { readonly [name: string]: Buffer } = {
    virtio: module("depends=virtio_ring"),
    virtio_ring: module("depends="),
    virtio_pci: module("depends=virtio-ring,virtio,pci", "license=GPL"),
    virtio_blk: module("depends=virtio"),
    erofs: module("softdep=pre: crc32c post: lz4", "depends=")
  }
  const from = (name: string) => kernel[name] ?? null

  it("puts each after what it needs, once, and leaves out what is built in", () => {
    const order = loadOrder(["virtio-pci", "virtio_blk", "ext4"], from).map(({ name }) => name)

    assert.deepStrictEqual(order, ["virtio_ring", "virtio", "virtio_pci", "virtio_blk"])
  })

  it("takes what a module asks for beforehand, but not what it asks for afterwards", () => {
    assert.deepStrictEqual(needsOf(kernel["erofs"]!), ["crc32c"])
  })

  it("is refused where there is none", () => {
    const circle = { a: module("depends=b"), b: module("depends=a") }

    assert.throws(
      () => loadOrder(["a"], (name) => circle[name as "a" | "b"]),
      "expected modules that need no one another"
    )
  })
})

describe("a module", () => {
  const record = Buffer.alloc(12)
  record.writeUInt32BE(5, 8)
  const signed = Buffer.concat([
    module("depends="),
    Buffer.from("12345"),
    record,
    Buffer.from("~Module signature appended~\n")
  ])

  it("is taken without its signature", () => {
    assert.isTrue(unsigned(signed).equals(module("depends=")))
  })

  it("is taken whole if it has none", () => {
    assert.isTrue(unsigned(module("depends=")).equals(module("depends=")))
  })
})

describe("a kernel", () => {
  const kernel = Buffer.from("\x7fELF the kernel itself")
  const run = (argv: ReadonlyArray<string>, input: Buffer) => execFileSync(argv[0]!, argv.slice(1), { input })

  /** As Linux wraps it for a boot loader of x86: one sector of setup and the boot sector, then a program around it. */
  const wrapped = (compressed: Buffer, trailer: number) => {
    const setup = Buffer.alloc(1024)
    const program = Buffer.from("decompressor")
    setup[0x1f1] = 1
    setup.write("HdrS", 0x202)
    setup.writeUInt32LE(program.length, 0x248)
    setup.writeUInt32LE(compressed.length + trailer, 0x24c)
    const size = Buffer.alloc(trailer)
    if (trailer > 0) size.writeUInt32LE(kernel.length)
    return Buffer.concat([setup, program, compressed, size, Buffer.from("more of the program")])
  }

  for (const [argv, trailer] of [
    [["lz4", "-lc"], 4],
    [["zstd", "-c"], 4],
    [["xz", "--check=crc32", "-c"], 4],
    [["gzip", "-c"], 0]
  ] as const) {
    it(`for x86 is taken out of what ${argv[0]} has made of it`, () => {
      assert.strictEqual(`${bareKernel(wrapped(run(argv, kernel), trailer), run)}`, `${kernel}`)
    })
  }

  it("for Arm is taken as it is, or out of an EFI program", () => {
    const bare = Buffer.concat([Buffer.from("MZ"), Buffer.alloc(0x36), Buffer.from("ARMd"), kernel])
    assert.isTrue(bareKernel(bare, run).equals(bare))

    const compressed = run(["gzip", "-c"], kernel)
    const header = Buffer.alloc(64)
    header.write("MZ\0\0zimg")
    header.writeUInt32LE(64, 8)
    header.writeUInt32LE(compressed.length, 12)
    const program = Buffer.concat([header, compressed, Buffer.from("decompressor")])
    assert.strictEqual(`${bareKernel(program, run)}`, `${kernel}`)
  })

  it("is refused where it is none, or compressed in an unknown way", () => {
    assert.throws(() => bareKernel(Buffer.alloc(4096), run), "expected a kernel for x86 or Arm")
    assert.throws(() => bareKernel(wrapped(Buffer.from("????"), 0), run), "found one that begins 3f3f3f3f")
  })
})
