/**
 * What `npm run programs` compiles and by what: Debian's compiler for both architectures and the sources of a few
 * programs, downloaded into `build/programs` and never installed; see test/programs/programs.nix.
 *
 * Where a program of another architecture can be run by itself (qemu-user), stock Nix builds for it as well.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { run } from "./child.mjs"
import { architectures } from "./guest/architectures.mjs"
import { apart, prepare } from "./guest/debian.mjs"
import { build, toolEnvironment } from "./place.mjs"
import { unpack } from "./system.mjs"

const place = path.join(build, "programs")
const made = path.join(place, "made")

const common =
  "libc6 libc6-dev libc-dev-bin linux-libc-dev libcrypt1 libcrypt-dev libnsl-dev libtirpc-dev libtirpc3 libnsl2 gcc-12 " +
  "cpp-12 gcc-12-base libgcc-12-dev libgcc-s1 libgomp1 libitm1 libatomic1 libasan8 liblsan0 libtsan2 libubsan1 libcc1-0 " +
  "libisl23 libmpc3 libmpfr6 libgmp10 zlib1g libzstd1 libstdc++6 binutils binutils-common libbinutils libctf0 " +
  "libctf-nobfd0 libjansson4 make bash libtinfo6 coreutils libacl1 libattr1 libselinux1 libpcre2-8-0 libssl3 sed grep " +
  "gawk libsigsegv2 libreadline8 diffutils findutils tar gzip xz-utils bzip2 file libmagic1 libmagic-mgc liblzma5 libbz2-1.0"

/** In Debian 12, by architecture. patchelf runs on x86_64 for both. */
const packages = {
  x86_64: `${common} libquadmath0 libgprofng0 binutils-x86-64-linux-gnu patchelf`,
  aarch64: `${common} libhwasan0 binutils-aarch64-linux-gnu`
}

const sources = ["hello", "zlib", "lua5.4"]

/** The machine's own sources, with those of sources among them. */
const withSources = () => {
  const dir = "/etc/apt/sources.list.d"
  const files = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith(".sources")) : []
  const modern = files.map((name) =>
    readFileSync(path.join(dir, name), "utf8").replaceAll(/^Types:.*$/gm, "Types: deb deb-src")
  )
  const list = existsSync("/etc/apt/sources.list") ? readFileSync("/etc/apt/sources.list", "utf8") : ""
  const old = list.split("\n").filter((line) => line.startsWith("deb "))
  return { modern: modern.join("\n\n"), old: old.flatMap((line) => [line, line.replace(/^deb/, "deb-src")]).join("\n") }
}

const download = async (arch, env) => {
  const { debian } = architectures[arch]
  const state = path.join(place, "apt", debian)
  const parts = path.join(state, "sources")
  prepare(state)
  mkdirSync(parts, { recursive: true })
  const { modern, old } = withSources()
  writeFileSync(path.join(parts, "machine.sources"), modern)
  writeFileSync(path.join(parts, "machine.list"), `${old}\n`)
  const options = apart(debian, state, { "Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": parts })
  const apt = (words, cwd) => run(["apt-get", "-q", ...options, ...words], { cwd, env, log: "apt" })
  await apt(["update"], place)
  const debs = path.join(place, "debs", arch)
  mkdirSync(debs, { recursive: true })
  await apt(["download", ...packages[arch].split(" ")], debs)
  if (arch !== "x86_64") return
  const target = path.join(place, "sources")
  mkdirSync(target, { recursive: true })
  await apt(["source", "--download-only", ...sources], target)
}

export const compilers = {
  name: "a compiler to compile with, for both architectures",
  isDone: () => existsSync(made),
  fetches: () => (existsSync(made) ? [] : ["qemu-user-static"]),
  run: async () => {
    rmSync(place, { recursive: true, force: true })
    mkdirSync(place, { recursive: true })
    const env = toolEnvironment({ LC_ALL: "C.UTF-8" })
    for (const arch of Object.keys(packages)) await download(arch, env)
    await unpack("qemu-user-static")
    rmSync(path.join(place, "apt"), { recursive: true, force: true })
    writeFileSync(made, "")
  }
}
