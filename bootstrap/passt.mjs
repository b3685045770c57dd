/**
 * passt, which brings the network to builds that may have it; unpacked in `build/debian/passt`.
 *
 * The installed one is used where there is no apt to fetch it with: Debian's profile for it, where AppArmor is on, knows
 * of no network namespace but those of its own user.
 */
import { existsSync } from "node:fs"
import path from "node:path"
import { build, findProgram } from "./place.mjs"
import { unpack } from "./system.mjs"

const isDone = () =>
  existsSync(path.join(build, "debian/passt/usr/bin/passt")) ||
  (findProgram("apt-get") === null && findProgram("passt") !== null)

export const passt = {
  name: "the network of builds that may have it",
  isOptional: true,
  isDone,
  fetches: () => (isDone() ? [] : ["passt"]),
  run: () => unpack("passt")
}
