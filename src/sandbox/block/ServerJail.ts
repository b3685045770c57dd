/**
 * The jail of the process that serves disks: a user id that nobody else has, no network, and in sight nothing but this
 * program, the machine's libraries, and NARs, all read-only; and few of the kernel's calls.
 *
 * It needs nothing more. Files it is told by path, under the store's directory, which is where it is outside; clients
 * come to it as open connections.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Jail from "../microvm/Jail.ts"
import { SandboxError } from "../SandboxError.ts"
import { channelDescriptor, filterDescriptor, type Launch, serialization, threads } from "./ServerProcess.ts"
import * as SystemCalls from "../SystemCalls.ts"

export interface Options {
  readonly launcher: string
  /** Told by the starter; without it there is no jail. */
  readonly userNamespaceFd: number | null
  /** An id of the wide user namespace. */
  readonly id: number
  /** Where NARs are. */
  readonly narsDirectory: string
}

/** Where the jail has this program. */
const places = { root: "/drover", node: "/node" }

const root = path.resolve(import.meta.dirname, "../../..")
const entry = "src/cli/blockServer.ts"

export const launch = (options: Options): Launch | SandboxError => {
  const { id, launcher, narsDirectory, userNamespaceFd } = options
  if (userNamespaceFd === null) {
    return new SandboxError({ operation: "starting the block server", detail: "no user namespace was given" })
  }
  const bubblewrap = Jail.locate("bwrap")
  if (bubblewrap instanceof SandboxError) return bubblewrap
  const node = fs.realpathSync(process.execPath)
  const directories = [
    { source: root, target: places.root },
    ...linkedPackages(),
    { source: path.dirname(node), target: places.node },
    { source: narsDirectory, target: narsDirectory }
  ]
  const environment = {
    NODE_CHANNEL_FD: `${channelDescriptor}`,
    NODE_CHANNEL_SERIALIZATION_MODE: serialization,
    UV_THREADPOOL_SIZE: `${threads}`
  }
  const filter = SystemCalls.filter(process.arch, "disks")
  if (filter === null) {
    return new SandboxError({ operation: "starting the block server", detail: `there is no jail on ${process.arch}` })
  }
  const contents = { id, directories, devices: [], keepsGroups: false, environment, filterFd: filterDescriptor }
  const program = path.join(places.node, path.basename(node))
  const words = Jail.words(bubblewrap, contents, program, [path.join(places.root, entry)])
  return { command: [launcher, ...words], environment: {}, namespaceFd: userNamespaceFd, filter }
}

/** The packages may be a link to elsewhere. In the jail it then leads to the same place. */
const linkedPackages = () => {
  const packages = path.join(root, "node_modules")
  if (!fs.lstatSync(packages).isSymbolicLink()) return []
  return [{ source: fs.realpathSync(packages), target: path.resolve(root, fs.readlinkSync(packages)) }]
}
