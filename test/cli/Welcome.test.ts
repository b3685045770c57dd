/** What is printed at start can be taken by programs, by OpenSSH and by a shell, whatever the data directory is called. */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { clientFiles, knownHosts, type Reach, sshConfig } from "../../src/cli/ClientFiles.ts"
import { buildCommand, readyLine, welcome } from "../../src/cli/Welcome.ts"

const reach = (more: Partial<Reach> = {}): Reach => ({
  dataDir: "/var/lib/drover",
  ssh: { host: "127.0.0.1", port: 7022 },
  http: { host: "127.0.0.1", port: 7080 },
  hostPublicKey: Buffer.from("0000000b7373682d6564323535313900000020" + "11".repeat(32), "hex"),
  systems: ["x86_64-linux", "i686-linux"],
  ...more
})

const withDirectory = <A>(name: string, use: (directory: string) => A): A => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "drover-welcome-"))
  try {
    const dataDir = path.join(directory, name)
    fs.mkdirSync(path.join(dataDir, "client"), { recursive: true })
    return use(dataDir)
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
}

describe("the ready line", () => {
  it("names where everything is", () => {
    assert.strictEqual(
      readyLine(reach()),
      "drover ready ssh=127.0.0.1:7022 http=127.0.0.1:7080 data=/var/lib/drover " +
        "key=/var/lib/drover/client/id_ed25519 known_hosts=/var/lib/drover/client/known_hosts\n"
    )
  })

  it("has no other spaces than those between its words", () => {
    const words = readyLine(reach({ dataDir: "/my data/100%" }))
      .trim()
      .split(" ")

    const values = Object.fromEntries(words.slice(2).map((word) => word.split("=")))
    assert.strictEqual(decodeURIComponent(values["data"]), "/my data/100%")
    assert.strictEqual(words.length, 7)
  })
})

describe("the files of a client", () => {
  it.each(["plain", "with space", "100%", "it's", 'a "quoted" \\ name', "#hash"])(
    "are taken by OpenSSH in a directory called %j",
    (name) => {
      withDirectory(name, (dataDir) => {
        const files = clientFiles(dataDir)
        fs.writeFileSync(files.sshConfig, sshConfig(reach({ dataDir, ssh: { host: "::", port: 4022 } })))

        const told = execFileSync("ssh", ["-G", "-F", files.sshConfig, "drover"], { encoding: "utf8" }).split("\n")

        assert.includeMembers(told, ["hostname ::1", "port 4022", "user drover", "identitiesonly yes"])
        const identity = told.find((line) => line.startsWith("identityfile "))!.slice("identityfile ".length)
        assert.strictEqual(identity.replaceAll("%%", "%"), files.key)
      })
    }
  )

  it("name the host as SSH looks it up", () => {
    withDirectory("d", (dataDir) => {
      const file = path.join(dataDir, "known_hosts")
      fs.writeFileSync(file, knownHosts(reach({ ssh: { host: "0.0.0.0", port: 4022 } })))

      const found = execFileSync("ssh-keygen", ["-F", "[127.0.0.1]:4022", "-f", file], { encoding: "utf8" })

      assert.include(found, "ssh-ed25519")
    })
  })
})

describe("the command to paste", () => {
  it.each(["plain", "with space", "it's", "a'b c"])("finds its file in a directory called %j", (name) => {
    withDirectory(name, (dataDir) => {
      fs.writeFileSync(clientFiles(dataDir).sshConfig, "the file\n")
      // Stands in for Nix: cuts the options at spaces, as it does, and shows what it was given.
      const bin = path.join(path.dirname(dataDir), "bin")
      fs.mkdirSync(bin)
      fs.writeFileSync(
        path.join(bin, "nix-build"),
        '#!/bin/sh\nset -- $NIX_SSHOPTS -- "$@"\ncat "$2"; for word; do echo "$word"; done\n',
        { mode: 0o755 }
      )

      const environment = { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, TMPDIR: path.dirname(dataDir) }
      const seen = execFileSync("sh", ["-c", buildCommand(reach({ dataDir }))], {
        encoding: "utf8",
        env: environment,
        cwd: "/"
      })

      assert.isTrue(seen.startsWith("the file\n"))
      assert.include(seen, "\nssh-ng://drover x86_64-linux - 100 1 ")
      assert.match(seen, /\nderivation \{.*\}\n/)
    })
  })

  it("stands alone on its line, as the machine does", () => {
    const lines = welcome(reach()).split("\n")

    assert.include(lines, buildCommand(reach()))
    assert.isTrue(lines.some((line) => line.startsWith("ssh-ng://drover x86_64-linux,i686-linux - ")))
  })
})
