/** Stock Nix as an ordinary installation has it: sandboxed builds, as users of their own. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { projectDirectory } from "./Drover.ts"

/** Nix kills all that a build user runs before and after a build: these are nobody else's. */
const firstUser = 800_000 + (process.pid % 50_000) * 32
const users = Array.from({ length: 32 }, (_, index) => `nixbld${index + 1}`)

/** The users that it builds as, and all others that this machine has. */
export const etc = () => {
  const others = (file: string, except: RegExp) =>
    readFileSync(`/etc/${file}`, "utf8")
      .split("\n")
      .filter((line) => line !== "" && !except.test(line))
      .join("\n")
  const entries = users.map((user, index) => `${user}:x:${firstUser + index}:30000::/var/empty:/usr/sbin/nologin`)
  return {
    // The server gives up its privileges as `sshd`, who is there only where it has been installed.
    passwd: [
      others("passwd", /^(nixbld|sshd:|root:)/),
      "root:x:0:0:root:/root:/bin/sh",
      "sshd:x:799999:65534::/run/sshd:/usr/sbin/nologin",
      ...entries,
      ""
    ].join("\n"),
    group: `${others("group", /^nixbld/)}\nnixbld:x:30000:${users.join(",")}\n`,
    // Root's password may be locked, which OpenSSH takes for a locked account.
    shadow: "root:*:19000:0:99999:7:::\n"
  }
}

/** Lines of its nix.conf. Its `/bin/sh` is the static busybox that Nix is built with where it is not Debian's. */
export const settings = `sandbox = true
sandbox-fallback = false
sandbox-paths = /bin/sh=${path.join(projectDirectory, "build/busybox")}
build-users-group = nixbld
max-jobs = auto
`
