/**
 * Debian's packages of any architecture, unpacked and never installed.
 *
 * Those of another architecture come by a state of apt's own under `build/`, so that the machine's lists, and what dpkg
 * holds possible, stay as they are. Which release they are of is what the machine's own sources say.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import path from "node:path"
import { ask, run } from "../child.mjs"
import { build, toolEnvironment } from "../place.mjs"
import { refuse } from "../say.mjs"
import { unpack } from "../system.mjs"
import { architectures, isOwn } from "./architectures.mjs"

const stateOf = (debian) => path.join(build, "apt", debian)

/** What makes apt one for that architecture; nothing, for the machine's own. */
const optionsFor = (arch) => {
  const { debian } = architectures[arch]
  return isOwn(arch) ? [] : apart(debian, stateOf(debian))
}

/** What makes apt one for what Debian calls that architecture, with all that it keeps in a directory of its own. */
export const apart = (debian, state, more = {}) => {
  const settings = {
    "APT::Architecture": debian,
    "APT::Architectures": debian,
    "Dir::State": path.join(state, "state"),
    "Dir::State::status": path.join(state, "status"),
    "Dir::Cache": path.join(state, "cache"),
    "Acquire::Languages": "none",
    // As the user that we are, who owns all of this.
    "APT::Sandbox::User": "root",
    // The machine's own notices of a change to its lists are not for this one.
    "APT::Update::Post-Invoke-Success": "",
    "APT::Update::Post-Invoke": "",
    ...more
  }
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`])
}

/** apt's lists for an architecture; the machine's own are brought up to date with everything else. */
export const refresh = async (arch) => {
  if (isOwn(arch)) return
  prepare(stateOf(architectures[arch].debian))
  await run(["apt-get", "-q", ...optionsFor(arch), "update"], { env: toolEnvironment(), log: "apt" })
}

/** What apt wants to find in its directory. */
export const prepare = (state) => {
  for (const dir of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(path.join(state, dir), { recursive: true })
  writeFileSync(path.join(state, "status"), "")
}

/** The kernel package that the one that always names the newest depends on. */
export const newestKernel = async (arch) => {
  const name = `linux-image-cloud-${architectures[arch].debian}`
  const shown = await ask(["apt-cache", ...optionsFor(arch), "depends", name])
  const found = /^\s*Depends: (linux-image-\S+)$/m.exec(shown ?? "")
  return found === null
    ? refuse(`expected the package ${name} among apt's sources, found none; is this Debian?`)
    : found[1]
}

/** Removes apt's state for another architecture, which is twenty megabytes of lists. */
export const forget = (arch) => {
  if (!isOwn(arch)) rmSync(stateOf(architectures[arch].debian), { recursive: true, force: true })
}

/** Unpacks a package; gives where. */
export const fetch = (arch, name) =>
  unpack(name, { options: optionsFor(arch), place: isOwn(arch) ? name : `${name}-${architectures[arch].debian}` })
