/** The shell of the sandbox: a static busybox, as upstream Nix has it, in `build/busybox`. */
import { chmodSync, copyFileSync, existsSync, readFileSync, renameSync } from "node:fs"
import path from "node:path"
import { build } from "./place.mjs"
import { refuse } from "./say.mjs"
import { unpack } from "./system.mjs"

const target = path.join(build, "busybox")
const isDone = () => existsSync(target)

/** A dynamic program names its loader in a program header of type PT_INTERP, 3. All our systems are 64-bit ELF. */
const isStatic = (file) => {
  const elf = readFileSync(file)
  const start = Number(elf.readBigUInt64LE(32))
  const size = elf.readUInt16LE(54)
  const count = elf.readUInt16LE(56)
  return !Array.from({ length: count }, (_, index) => elf.readUInt32LE(start + index * size)).includes(3)
}

/** The system's own, where it is static. */
const installed = () => ["/usr/bin/busybox", "/bin/busybox"].find((file) => existsSync(file) && isStatic(file)) ?? null

/** The one in the unpacked package `busybox-static`, of whichever architecture. */
export const findStatic = (dir) =>
  ["bin/busybox", "usr/bin/busybox"]
    .map((file) => path.join(dir, file))
    .find((file) => existsSync(file) && isStatic(file)) ??
  refuse("expected a static busybox in the package busybox-static, found none")

export const busybox = {
  name: "the sandbox's shell",
  isDone,
  fetches: () => (isDone() || installed() !== null ? [] : ["busybox-static"]),
  run: async () => {
    const source = installed() ?? findStatic(await unpack("busybox-static"))
    copyFileSync(source, `${target}.part`)
    chmodSync(`${target}.part`, 0o755)
    renameSync(`${target}.part`, target)
  }
}
