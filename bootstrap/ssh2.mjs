/**
 * ssh2 as we want it: with the post-quantum key exchange, and with its native ciphers, which are not optional for us.
 *
 * Without them uploads are ten times slower, and they go wrong unseen: built for another Node, the binding is silently
 * not loaded; built against the system's libnode, it says that it is there and crashes as the process ends; built as
 * published, it aborts the process when the garbage collector comes at the wrong moment (`patches/ssh2-binding.patch`).
 * So it is built by a pinned node-gyp that runs on Node 24 itself, with that package's headers, and has to prove itself.
 */
import { createHash } from "node:crypto"
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { run } from "./child.mjs"
import { applyPatch } from "./patch.mjs"
import { modules, node24, nodePackage, readJson, root, toolEnvironment } from "./place.mjs"

const ssh2Package = path.join(modules, "ssh2")
const crypto = path.join(ssh2Package, "lib/protocol/crypto")
const binding = path.join(crypto, "build/Release/sshcrypto.node")

/** Each says in its own words what it is for. */
const patches = ["ssh2-mlkem.patch", "ssh2-binding.patch"].map((name) => path.join(root, "patches", name))

/** Beside the binding, so that it goes when npm replaces the package. */
const mark = path.join(ssh2Package, ".drover")

/** Of everything that the result depends on. */
const hash = () => {
  const sum = createHash("sha256")
  for (const patch of patches) sum.update(readFileSync(patch))
  for (const made of [nodePackage, ssh2Package]) sum.update(`${readJson(path.join(made, "package.json")).version}\n`)
  return sum.digest("hex")
}

/** Builds where no path has a space in it: make would take each for an end. */
const buildBinding = async () => {
  const work = mkdtempSync(path.join(/\s/.test(tmpdir()) ? "/tmp" : tmpdir(), "drover-ssh2-"))
  try {
    cpSync(crypto, path.join(work, "crypto"), { recursive: true })
    cpSync(path.join(modules, "nan"), path.join(work, "node_modules/nan"), { recursive: true })
    mkdirSync(path.join(work, "tools"))
    symlinkSync(modules, path.join(work, "tools/node_modules"))
    symlinkSync(nodePackage, path.join(work, "node"))
    const node = path.join(work, "node/bin/node")
    const argv = [
      node,
      "--preserve-symlinks",
      "--preserve-symlinks-main",
      path.join(work, "tools/node_modules/node-gyp/bin/node-gyp.js"),
      "rebuild",
      `--nodedir=${path.join(work, "node")}`,
      "--real_openssl_major=3"
    ]
    // The build itself asks `node` where nan is, and must be answered by the same one.
    const env = toolEnvironment()
    await run(argv, {
      cwd: path.join(work, "crypto"),
      env: { ...env, PATH: `${path.join(work, "node/bin")}:${env.PATH}`, HOME: work },
      log: "ssh2"
    })
    mkdirSync(path.dirname(binding), { recursive: true })
    copyFileSync(path.join(work, "crypto/build/Release/sshcrypto.node"), binding)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** A process of its own that encrypts, decrypts, and comes to a good end: the last is where a wrong build shows. */
const prove = () =>
  run([node24, path.join(root, "bootstrap/prove-ssh2.cjs"), ssh2Package], {
    cwd: root,
    env: toolEnvironment(),
    log: "ssh2"
  })

export const ssh2 = {
  name: "ssh2's native ciphers",
  isDone: () =>
    existsSync(mark) &&
    existsSync(binding) &&
    existsSync(path.join(nodePackage, "package.json")) &&
    readFileSync(mark, "utf8") === hash(),
  run: async () => {
    for (const patch of patches) applyPatch(readFileSync(patch, "utf8"), root)
    await buildBinding()
    await prove()
    writeFileSync(mark, hash())
  }
}
