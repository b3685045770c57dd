/** Removes a tree of ours, whose directories nobody may write. What is not there is removed already. */
import { constants } from "node:fs"
import * as fs from "node:fs/promises"

/** Names are bytes, and resolved in the open directory above: a tree may be deeper than any path may be long. */
export const removeTree = async (path: string | Buffer): Promise<void> => {
  const directory = await openDirectory(path)
  if (directory === null) return await fs.rm(path, { force: true })
  try {
    await directory.chmod(0o700)
    const inside = `/proc/self/fd/${directory.fd}/`
    for (const entry of await fs.readdir(inside, { withFileTypes: true, encoding: "buffer" })) {
      const name = Buffer.concat([Buffer.from(inside), entry.name])
      await (entry.isDirectory() ? removeTree(name) : fs.unlink(name))
    }
  } finally {
    await directory.close()
  }
  await fs.rmdir(path)
}

const openDirectory = (path: string | Buffer): Promise<fs.FileHandle | null> =>
  fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch((error) => {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(error.code)) return null
    throw error
  })
