/**
 * The kernel's modules: which belong to those that we want, in which order they load, and their bare contents.
 *
 * Debian's packages come without an index of dependencies, which is made where they are installed; but each module says
 * itself what it needs, in its section `.modinfo`: strings `KEY=VALUE`, each ended by a NUL.
 */

/**
 * Of Debian's cloud kernel, what a machine of ours needs; some of it may be built in. `order`: every one, when it starts;
 * `network`: only one with a network, when it is told of it.
 */
export const wantedModules = {
  order: ["virtio_pci", "virtio_console", "virtio_blk", "erofs", "ext4", "overlay"],
  network: ["virtio_net"]
}

/** Names are written with `-` or `_`, and mean the same. */
export const moduleName = (text) => text.replaceAll("-", "_")

const values = (contents, key) => {
  const found = []
  const start = Buffer.from(`\0${key}=`)
  for (let at = contents.indexOf(start); at >= 0; at = contents.indexOf(start, at + 1)) {
    found.push(contents.subarray(at + start.length, contents.indexOf(0, at + start.length)).toString("latin1"))
  }
  return found
}

/** What a module says that has to be loaded before it. */
export const needsOf = (contents) => {
  const hard = values(contents, "depends").flatMap((list) => list.split(","))
  const soft = values(contents, "softdep").flatMap(
    (text) => /pre: ([^:]*?)(?: post:|$)/.exec(text)?.[1].split(" ") ?? []
  )
  return [...hard, ...soft].filter((name) => name !== "").map(moduleName)
}

/**
 * The wanted ones and what they need, each after its needs, without those that are loaded before. `read` gives contents
 * by name, or null if it is built in.
 */
export const loadOrder = (wanted, read, before = []) => {
  const order = new Map()
  const visit = (name, path) => {
    if (order.has(name) || before.includes(name)) return
    if (path.includes(name)) throw new Error(`expected modules that need no one another, found ${[...path, name]}`)
    const contents = read(name)
    if (contents === null) return
    for (const need of needsOf(contents)) visit(need, [...path, name])
    order.set(name, contents)
  }
  for (const name of wanted) visit(moduleName(name), [])
  return [...order].map(([name, contents]) => ({ name, contents }))
}

const signatureMark = Buffer.from("~Module signature appended~\n")

/** The size of the record between a signature and its mark, which ends with the length of the signature. */
const signatureRecordBytes = 12

/**
 * Without its signature. The hash of the whole initramfs says more, and checking a signature takes an emulated machine
 * milliseconds a module.
 */
export const unsigned = (contents) => {
  const end = contents.length - signatureMark.length
  if (end < signatureRecordBytes || !contents.subarray(end).equals(signatureMark)) return contents
  return contents.subarray(0, end - signatureRecordBytes - contents.readUInt32BE(end - 4))
}
