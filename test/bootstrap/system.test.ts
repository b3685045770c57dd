/** Packages of the system: what is told to whom cannot install them. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"

const system = path.resolve("bootstrap/system.mjs")

/** Asks for packages as a user other than root, with these programs on the PATH; gives what it ends with. */
const asUser = (programs: ReadonlyArray<string>, packages: ReadonlyArray<string>, fetched: ReadonlyArray<string>) => {
  const bin = mkdtempSync(path.join(tmpdir(), "drover-test-"))
  try {
    for (const name of programs) {
      writeFileSync(path.join(bin, name), "#!/bin/sh\nexit 1\n")
      chmodSync(path.join(bin, name), 0o755)
    }
    chmodSync(bin, 0o755)
    const script = `
      const { bring } = await import(${JSON.stringify(system)})
      if (process.getuid() === 0) process.setuid(65534)
      process.stdout.write(await bring(${JSON.stringify(packages)}, ${JSON.stringify(fetched)}).then(
        () => "goes on", (error) => error.message))`
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      env: { PATH: bin }
    })
    return stdout
  } finally {
    rmSync(bin, { recursive: true })
  }
}

describe("bringing packages as a user other than root", () => {
  it("names what root has to install, and nothing that is fetched", () => {
    assert.strictEqual(
      asUser(["apt-get"], ["make", "uidmap"], ["linux-image-cloud-arm64:arm64"]),
      "needs these packages, which root can install: apt-get install --no-install-recommends make uidmap"
    )
  })

  it("goes on where there is only to fetch, with apt and without", () => {
    assert.strictEqual(asUser(["apt-get"], [], ["passt"]), "goes on")
    assert.strictEqual(asUser([], [], ["passt"]), "goes on")
  })

  it("names everything where there is no apt", () => {
    assert.strictEqual(
      asUser([], ["make"], ["passt"]),
      "expected apt-get or what it installs, found neither; Debian has it as make passt"
    )
  })
})
