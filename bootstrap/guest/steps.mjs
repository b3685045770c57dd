/**
 * The set-up of the machines that builds run in: for each architecture a kernel and an initramfs in `build/guest/ARCH`,
 * and `guest.json`, which says what they are.
 *
 * First the parts that come from Debian, kernel, modules and shell; the packages are a hundred times as large and are not
 * kept. Then the initramfs, which is composed anew whenever the executor changes.
 */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { findStatic } from "../busybox.mjs"
import { run } from "../child.mjs"
import { sourceHash } from "../executor.mjs"
import { build, root, toolEnvironment } from "../place.mjs"
import { refuse } from "../say.mjs"
import { architectures, isOwn } from "./architectures.mjs"
import { fetch, forget, newestKernel, refresh } from "./debian.mjs"
import { compose } from "./initramfs.mjs"
import { bareKernel } from "./kernel.mjs"
import { loadOrder, moduleName, unsigned, wantedModules } from "./modules.mjs"

const sha256 = (...parts) => parts.reduce((sum, part) => sum.update(part), createHash("sha256")).digest("hex")

/** Of the files that decide how something is made. */
const hashOf = (...names) => sha256(...names.map((name) => readFileSync(path.join(root, "bootstrap/guest", name))))

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

/** The executor for machines of that kind: the host's own, or one that a cross compiler makes. */
const executorFor = async (arch) => {
  if (isOwn(arch)) return path.join(build, "executor")
  const out = path.join("../build/guest", arch, "parts")
  const words = [`OUT=${out}`, `CC=${architectures[arch].compiler}`, "ANALYZE=", `${out}/executor`]
  await run(["make", "-C", "executor", ...words], { cwd: root, log: "executor" })
  return path.join(build, "guest", arch, "parts/executor")
}

/** Kernel, modules and shell, from Debian, into the directory `place`. */
const bringParts = async (arch, place) => {
  await refresh(arch)
  const image = await newestKernel(arch)
  const version = image.replace("linux-image-", "")
  const unpacked = await fetch(arch, image)
  rmSync(place, { recursive: true, force: true })
  mkdirSync(path.join(place, "modules"), { recursive: true })

  const read = moduleReader(modulesIn(unpacked, version))
  const before = []
  for (const [list, wanted] of Object.entries(wantedModules)) {
    const loaded = loadOrder(wanted, read, before)
    for (const { contents, name } of loaded) put(path.join(place, "modules", `${name}.ko`), contents)
    put(path.join(place, "modules", list), loaded.map(({ name }) => `${name}.ko\n`).join(""))
    before.push(...loaded.map(({ name }) => name))
  }
  put(path.join(place, "version"), version)
  const kernel = readFileSync(path.join(unpacked, "boot", `vmlinuz-${version}`))
  put(path.join(place, "kernel"), bareKernel(kernel, filter))
  rmSync(unpacked, { recursive: true })

  const shell = isOwn(arch) ? path.join(build, "busybox") : findStatic(await fetch(arch, "busybox-static"))
  put(path.join(place, "sh"), readFileSync(shell))
  forget(arch)
}

/** The initramfs, and what is to be known of it, from the parts. */
const assemble = async (arch, place) => {
  const read = (name) => readFileSync(path.join(place, "parts", name))
  const modules = readdirSync(path.join(place, "parts/modules"))
  const initramfs = compose({
    executor: readFileSync(await executorFor(arch)),
    shell: read("sh"),
    modules: modules.map((name) => ({ name, contents: read(path.join("modules", name)) }))
  })
  const { commandLine } = architectures[arch]
  const kernelVersion = read("version").toString()
  const kernelHash = sha256(read("kernel"))
  const initramfsHash = sha256(initramfs)
  const hash = sha256([kernelHash, initramfsHash, commandLine].join("\n"))
  const guest = { arch, kernelVersion, kernelHash, initramfsHash, hash, commandLine }

  rmSync(path.join(place, "kernel"), { force: true })
  linkSync(path.join(place, "parts/kernel"), path.join(place, "kernel"))
  put(path.join(place, "initramfs.cpio"), initramfs)
  put(path.join(place, "guest.json"), `${JSON.stringify(guest, null, 2)}\n`)
}

/** What the virtual machines of that architecture boot. */
const guest = (arch) => {
  const place = path.join(build, "guest", arch)
  const marks = { parts: path.join(place, "parts/made"), whole: path.join(place, "made") }
  const partsFrom = () => hashOf("debian.mjs", "kernel.mjs", "modules.mjs")
  const wholeFrom = () => sha256(partsFrom(), sourceHash(), hashOf("architectures.mjs", "cpio.mjs", "initramfs.mjs"))
  const hasParts = () => reads(marks.parts, partsFrom())
  const suffix = isOwn(arch) ? "" : `:${architectures[arch].debian}`
  return {
    name: `the ${arch} machines that builds run in`,
    // The other backend does without.
    isOptional: true,
    isDone: () => hasParts() && reads(marks.whole, wholeFrom()),
    fetches: () => {
      const shell = isOwn(arch) ? [] : [`busybox-static${suffix}`]
      return hasParts() ? [] : [`linux-image-cloud-${architectures[arch].debian}${suffix}`, ...shell]
    },
    run: async () => {
      if (!hasParts()) {
        await bringParts(arch, path.join(place, "parts"))
        writeFileSync(marks.parts, partsFrom())
      }
      const made = wholeFrom()
      await assemble(arch, place)
      writeFileSync(marks.whole, made)
    }
  }
}

/** For every architecture, since a host emulates those that it is not. */
export const guests = Object.keys(architectures).map(guest)
