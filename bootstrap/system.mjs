/**
 * Programs of the operating system: looked for on the PATH, brought by apt where they are missing.
 *
 * apt is kept from removing anything and from starting what it installs. A package whose installing would enable a
 * service (an SSH server), or push out another (a second busybox), is fetched and unpacked under `build/` instead.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { run } from "./child.mjs"
import { architectures, isOwn } from "./guest/architectures.mjs"
import { build, findProgram, toolEnvironment } from "./place.mjs"
import { progress, refuse, say } from "./say.mjs"

/** What emulates an architecture, and what compiles for one that the host is not. */
const foreign = Object.entries(architectures).flatMap(([arch, { compiler, compilerPackages, emulator, headers }]) => {
  const emulates = { programs: [emulator.program], packages: [emulator.package] }
  const compiles = { programs: [compiler], files: [headers], packages: compilerPackages }
  return [[`emulator ${arch}`, emulates], ...(isOwn(arch) ? [] : [[`compiler ${arch}`, compiles]])]
})

/** What is needed, the programs and files that show that it is there, and Debian's packages. */
const known = {
  // Debian's gcc alone comes without the C library's headers, which g++ asks for.
  compiler: { programs: ["gcc", "g++"], packages: ["g++"] },
  make: { programs: ["make"], packages: ["make"] },
  python: { programs: ["python3"], packages: ["python3"] },
  nix: { programs: ["nix", "nix-build", "nix-store"], packages: ["nix-bin"] },
  ssh: { programs: ["ssh", "ssh-keygen"], packages: ["openssh-client"] },
  // Makes the networks of tests.
  routes: { programs: ["ip"], packages: ["iproute2"] },
  // Gives a user other than root the range of user ids that the sandboxes need.
  uidmap: { programs: ["newuidmap", "newgidmap"], packages: ["uidmap"] },
  jail: { programs: ["bwrap"], packages: ["bubblewrap"] },
  scratch: { programs: ["mkfs.ext4"], packages: ["e2fsprogs"] },
  // Kernels come compressed, by Debian's choice of the year, and so do their modules.
  lz4: { programs: ["lz4"], packages: ["lz4"] },
  zstd: { programs: ["zstd"], packages: ["zstd"] },
  xz: { programs: ["xz"], packages: ["xz-utils"] },
  ...Object.fromEntries(foreign)
}

/** What virtual machines need, by name in `known`. */
export const machinery = ["jail", "scratch", "lz4", "zstd", "xz", ...foreign.map(([name]) => name)]

/** The packages of those that are not there. */
export const missing = (names) =>
  [...names, ...(process.getuid() === 0 ? [] : ["uidmap"])]
    .map((name) => known[name])
    .filter(
      ({ files = [], programs }) =>
        programs.some((program) => findProgram(program) === null) || !files.every((file) => existsSync(file))
    )
    .flatMap(({ packages }) => packages)

/** Installs `packages`; `fetched` are named with them, and fetched by the steps that want them. */
export const bring = async (packages, fetched) => {
  if (packages.length + fetched.length === 0) return
  const isRoot = process.getuid() === 0
  const hasApt = findProgram("apt-get") !== null
  if (packages.length > 0 && !hasApt) {
    refuse(
      `expected apt-get or what it installs, found neither; Debian has it as ${[...packages, ...fetched].join(" ")}`
    )
  }
  // What is fetched needs no root, and the line must work as it is: another architecture's packages are not installed.
  if (packages.length > 0 && !isRoot) {
    const line = `apt-get install --no-install-recommends ${packages.join(" ")}`
    refuse(`needs these packages, which root can install: ${line}`)
  }
  // Without apt each step that fetches says so itself, since some can be done without.
  if (!hasApt) return
  if (packages.length > 0) say(`installs with apt: ${packages.join(" ")}`)
  if (fetched.length > 0) say(`fetches with apt and unpacks under build/, without installing: ${fetched.join(" ")}`)
  const env = toolEnvironment({ DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1", LC_ALL: "C.UTF-8" })
  if (isRoot) await progress("apt's lists", () => run(["apt-get", "-q", "update"], { env, log: "apt" }))
  if (packages.length === 0) return
  await progress("system packages", () =>
    withoutServices(() =>
      run(["apt-get", "-q", "-y", "--no-remove", "--no-install-recommends", "install", ...packages], {
        env,
        log: "apt"
      })
    )
  )
}

const policyFile = "/usr/sbin/policy-rc.d"
const policyAside = `${policyFile}.drover-aside`
const policyMark = "# Drover's, for the time of an installation: no service is started, stopped or restarted."

/** Debian's packages ask this file before they start or restart a service. The machine's own comes back afterwards. */
const withoutServices = async (install) => {
  const isOurs = existsSync(policyFile) && readFileSync(policyFile, "utf8").includes(policyMark)
  // One of ours is left over from a set-up that was killed; what it had put aside is still there.
  if (!isOurs && existsSync(policyFile)) renameSync(policyFile, policyAside)
  writeFileSync(policyFile, `#!/bin/sh\n${policyMark}\nexit 101\n`, { mode: 0o755 })
  try {
    await install()
  } finally {
    if (existsSync(policyAside)) renameSync(policyAside, policyFile)
    else rmSync(policyFile, { force: true })
  }
}

/**
 * Fetches a package and unpacks it into `build/debian/PLACE`, whose path it gives. `options` are apt's: a package of
 * another architecture comes by a state of its own.
 */
export const unpack = async (name, { options = [], place = name } = {}) => {
  if (findProgram("apt-get") === null) refuse(`expected apt-get on the PATH to fetch ${name} with, found none`)
  const target = path.join(build, "debian", place)
  const work = `${target}.part`
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  // apt would fetch as its own user, who may not be able to write here, and says so at length.
  const asUs = process.getuid() === 0 ? ["-o", "APT::Sandbox::User=root"] : []
  await run(["apt-get", "-q", ...asUs, ...options, "download", name], { cwd: work, log: "apt" })
  const file = readdirSync(work).find((entry) => entry.endsWith(".deb"))
  if (file === undefined) refuse(`expected apt-get to leave ${name}'s package in ${work}, found none`)
  await run(["dpkg-deb", "-x", file, "."], { cwd: work, log: "apt" })
  rmSync(path.join(work, file))
  rmSync(target, { recursive: true, force: true })
  renameSync(work, target)
  return target
}

const sshdFile = path.join(build, "debian/openssh-server/usr/sbin/sshd")
const hasSshd = () => existsSync(sshdFile) || findProgram("sshd") !== null

/** The stock remote builder's SSH server, which the bench measures against. Installed, it would be enabled as a service. */
export const sshd = {
  name: "OpenSSH's server",
  isDone: hasSshd,
  fetches: () => (hasSshd() ? [] : ["openssh-server"]),
  run: () => unpack("openssh-server")
}
