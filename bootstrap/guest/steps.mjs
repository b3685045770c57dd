/**
 * The set-up of the machines that builds run in: for each architecture a kernel and an initramfs in `build/guest/ARCH`,
 * and `guest.json`, which says what they are.
 *
 * First the parts that come from Debian, kernel, modules and shell; the packages are a hundred times as large and are not
 * kept. Then the initramfs, which is composed anew whenever the executor changes.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { findStatic } from "../busybox.mjs"
import { run } from "../child.mjs"
import { sourceHash } from "../executor.mjs"
import { build, root, toolEnvironment } from "../place.mjs"
import { refuse } from "../say.mjs"
import { architectures, isOwn } from "./architectures.mjs"
import { fetch, newestKernel, refresh } from "./debian.mjs"
import { compose } from "./initramfs.mjs"
import { bareKernel } from "./kernel.mjs"
import { loadOrder, moduleName, unsigned } from "./modules.mjs"

/** Of Debian's cloud kernel, what a machine of ours has and the kernel does not have built in. */
const wantedModules = ["virtio_pci", "virtio_console", "virtio_blk", "erofs", "ext4", "overlay"]

const sha256 = (...parts) => parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest("hex")

/** Of the files that decide how something is made. */
const hashOf = (...names) => sha256(...names.map((name) => readFileSync(path.join(root, "bootstrap/guest", name))))

const placeOf = (arch) => path.join(build, "guest", arch)

const reads = (file, text) => existsSync(file) && readFileSync(file, "utf8") === text

/** A whole file or none, for every user to read, whatever the umask. */
const put = (file, contents) => {
  writeFileSync(`${file}.part`, contents, { mode: 0o644 })
  renameSync(`${file}.part`, file)
}

/** What a program makes of its input. */
const filter = (argv, input) => {
  const done = spawnSync(argv[0], argv.slice(1), { input, maxBuffer: 1 << 30, env: toolEnvironment() })
  if (done.status === 0) return done.stdout
  return refuse(`expected \`${argv.join(" ")}\` to succeed, found ${done.error?.message ?? done.stderr}`)
}

/** The module's contents by name, out of an unpacked kernel package; null for one that is built in, or not there. */
const moduleReader = (modules) => {
  const files = readdirSync(modules, { recursive: true }).filter((file) => /\.ko(\.xz)?$/.test(file))
  const byName = new Map(files.map((file) => [moduleName(path.basename(file).replace(/\.ko(\.xz)?$/, "")), file]))
  return (name) => {
    const file = byName.get(name)
    if (file === undefined) return null
    const contents = readFileSync(path.join(modules, file))
    return unsigned(file.endsWith(".xz") ? filter(["xz", "-dc"], contents) : contents)
  }
}

/** The only directory that is there of two: where modules are depends on the release. */
const modulesIn = (unpacked, version) =>
  ["usr/lib/modules", "lib/modules"].map((dir) => path.join(unpacked, dir, version)).find((dir) => existsSync(dir)) ??
  refuse(`expected the modules of ${version} in its package, found none`)

/** Kernel, modules and shell, from Debian. */
const parts = (arch) => {
  const { debian } = architectures[arch]
  const place = path.join(placeOf(arch), "parts")
  const mark = path.join(place, "made")
  const made = () => hashOf("kernel.mjs", "modules.mjs", "steps.mjs")
  const isDone = () => reads(mark, made())
  const suffix = isOwn(arch) ? "" : `:${debian}`
  return {
    name: `kernel and modules of ${arch} machines`,
    isDone,
    fetches: () => {
      const shell = isOwn(arch) ? [] : [`busybox-static${suffix}`]
      return isDone() ? [] : [`linux-image-cloud-${debian}${suffix}`, ...shell]
    },
    run: async () => {
      await refresh(arch)
      const image = await newestKernel(arch)
      const version = image.replace("linux-image-", "")
      const unpacked = await fetch(arch, image)
      rmSync(place, { recursive: true, force: true })
      mkdirSync(path.join(place, "modules"), { recursive: true })

      const kernel = await bareKernel(readFileSync(path.join(unpacked, "boot", `vmlinuz-${version}`)), filter)
      const loaded = loadOrder(wantedModules, moduleReader(modulesIn(unpacked, version)))
      put(path.join(place, "kernel"), kernel)
      for (const { contents, name } of loaded) put(path.join(place, "modules", `${name}.ko`), contents)
      put(path.join(place, "modules/order"), loaded.map(({ name }) => `${name}.ko\n`).join(""))
      put(path.join(place, "version"), version)
      rmSync(unpacked, { recursive: true })

      const shell = isOwn(arch) ? path.join(build, "busybox") : findStatic(await fetch(arch, "busybox-static"))
      put(path.join(place, "sh"), readFileSync(shell))
      writeFileSync(mark, made())
    }
  }
}

/** The executor for machines of that kind: the host's own, or one that a cross compiler makes. */
const executorFor = async (arch) => {
  if (isOwn(arch)) return path.join(build, "executor")
  const out = path.join("../build/guest", arch, "parts")
  const words = [`OUT=${out}`, `CC=${architectures[arch].compiler}`, "ANALYZE=", `${out}/executor`]
  await run(["make", "-C", "executor", ...words], { cwd: root, log: "executor" })
  return path.join(placeOf(arch), "parts/executor")
}

/** What the virtual machines of that architecture boot. */
const guest = (arch) => {
  const place = placeOf(arch)
  const mark = path.join(place, "made")
  const made = () => {
    const from = path.join(place, "parts/made")
    return existsSync(from) ? sha256(readFileSync(from), sourceHash(), hashOf("cpio.mjs", "initramfs.mjs")) : ""
  }
  return {
    name: `${arch} machines`,
    isDone: () => reads(mark, made()),
    run: async () => {
      const from = path.join(place, "parts")
      const read = (name) => readFileSync(path.join(from, name))
      const modules = readdirSync(path.join(from, "modules")).map((name) => ({
        name,
        contents: read(`modules/${name}`)
      }))
      const kernel = read("kernel")
      const initramfs = compose({ executor: readFileSync(await executorFor(arch)), shell: read("sh"), modules })
      const { commandLine } = architectures[arch]
      const kernelHash = sha256(kernel)
      const initramfsHash = sha256(initramfs)
      const hash = sha256([kernelHash, initramfsHash, commandLine].join("\n"))
      const kernelVersion = read("version").toString()
      put(path.join(place, "kernel"), kernel)
      put(path.join(place, "initramfs.cpio"), initramfs)
      put(
        path.join(place, "guest.json"),
        `${JSON.stringify({ arch, kernelVersion, kernelHash, initramfsHash, hash, commandLine }, null, 2)}\n`
      )
      writeFileSync(mark, made())
    }
  }
}

/** For every architecture, since a host emulates those that it is not. */
export const guests = Object.keys(architectures).flatMap((arch) => [parts(arch), guest(arch)])
