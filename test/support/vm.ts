/** Runs shell scripts as builders in emulated machines, with every process around them that the product has. */
import { Context, Effect, Layer, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import type { Closure } from "../../src/sandbox/block/Control.ts"
import * as MicroVmSandbox from "../../src/sandbox/microvm/MicroVmSandbox.ts"
import * as blockServer from "./blockServer.ts"
import * as processes from "./processes.ts"
import * as sandbox from "./sandbox.ts"
import type { Tree } from "./trees.ts"

const root = path.resolve(import.meta.dirname, "../..")

/** Where the backend under test keeps what it keeps, and the closure that its builds see. */
export class Place extends Context.Service<
  Place,
  MicroVmSandbox.Options & {
    readonly dataDirectory: string
    readonly programDirectory: string
    readonly subUids: { readonly first: number; readonly count: number }
    readonly closure: Closure
  }
>()("drover/test/VmPlace") {}

/** Soon full. */
const scratchBytes = 64 * 2 ** 20

/** A directory as a tree. */
export const treeOf = (place: string): Tree => {
  const status = fs.lstatSync(place)
  if (status.isSymbolicLink()) return { _tag: "Symlink", target: fs.readlinkSync(place) }
  if (!status.isDirectory()) {
    return { _tag: "File", executable: (status.mode & 0o100) !== 0, contents: fs.readFileSync(place) }
  }
  const names = fs.readdirSync(place)
  return {
    _tag: "Directory",
    entries: Object.fromEntries(names.map((name) => [name, treeOf(path.join(place, name))]))
  }
}

/** The backend with everything beneath it, and what `more` says of it. */
export const layerWith = (
  more: (
    prepared: sandbox.Prepared
  ) => Effect.Effect<Partial<Omit<MicroVmSandbox.Options, "subUids">>, never, Scope.Scope>
) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const programs = yield* processes.programs
      // The C programs may have been compiled elsewhere; guests are always those of the set-up.
      const guest = path.join(programs, "guest")
      if (!fs.existsSync(guest)) fs.symlinkSync(path.join(root, "build/guest"), guest)
      const data = yield* processes.directory
      const started = yield* processes.started(programs, data)
      const tools = yield* processes.tools
      const prepared = yield* more({ programs, tools, starter: started.starter })
      const store = new blockServer.Store(yield* processes.directory)
      const closure = [{ path: sandbox.toolsPath, narHash: store.add(treeOf(tools)) }]
      const options = {
        ...started,
        programDirectory: programs,
        choice: "emulated",
        systems: null,
        scratchBytes,
        ...prepared
      } as const
      const context = yield* Layer.build(
        MicroVmSandbox.layer(options).pipe(
          Layer.provide(blockServer.layer(store)),
          Layer.provide(SecureRandom.layerWebCrypto)
        )
      )
      return Context.add(context, Place, { ...options, closure })
    })
  )

export const layer = layerWith(() => Effect.succeed({}))

/** The job of a script, with the tools where the block server has them. */
export const job = (script: sandbox.Script) =>
  Effect.map(Place, ({ closure }) => ({
    ...sandbox.job(script),
    inputs: closure.map(({ narHash, path }) => ({ path, narHash, narSize: 1 }))
  }))
