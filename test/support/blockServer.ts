/** A block server as the tests run it: its process without a jail, over a store of trees. */
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as zlib from "node:zlib"
import { printJson } from "../../src/protocol/nar/Listing.ts"
import type { Sha256 } from "../../src/protocol/nix/Hash.ts"
import { StorePath } from "../../src/protocol/nix/StorePath.ts"
import { BlockServer } from "../../src/sandbox/block/BlockServer.ts"
import type { Closure } from "../../src/sandbox/block/Control.ts"
import type { Launch } from "../../src/sandbox/block/ServerProcess.ts"
import { ClosureSource, type StoredNar } from "../../src/sandbox/ClosureSource.ts"
import { SandboxError } from "../../src/sandbox/SandboxError.ts"
import * as listed from "./listed.ts"
import { hashOf } from "./nar.ts"
import type { Tree } from "./trees.ts"

const entry = path.resolve(import.meta.dirname, "../../src/cli/blockServer.ts")

export const unjailed: Launch = { command: [process.execPath, entry], environment: {}, namespaceFd: null, filter: null }

/** NARs of trees: the larger ones as files, as the store has them. */
export class Store {
  readonly #directory: string
  readonly #nars = new Map<Sha256, StoredNar>()
  /** What was asked for, each time. */
  readonly asked: Array<ReadonlyArray<Sha256>> = []

  constructor(directory: string) {
    this.#directory = directory
  }

  add(tree: Tree): Sha256 {
    const { contents: bytes, listing } = listed.listing(tree)
    const narHash = hashOf(bytes)
    const file = path.join(this.#directory, `${narHash}.nar`)
    const isLarge = bytes.length > 16 * 1024
    if (isLarge) fs.writeFileSync(file, bytes)
    this.#nars.set(narHash, {
      narHash,
      listing: zlib.deflateRawSync(printJson(listing)),
      contents: isLarge ? { _tag: "File", path: file } : { _tag: "Bytes", bytes }
    })
    return narHash
  }

  /** A store path for each tree, none like another. */
  closure(trees: ReadonlyArray<Tree>): Closure {
    return trees.map((tree, index) => ({ path: pathOf(index), narHash: this.add(tree) }))
  }

  fileOf(narHash: Sha256): string {
    return path.join(this.#directory, `${narHash}.nar`)
  }

  /** As it would be if it came damaged. */
  damage(narHash: Sha256, listing: Uint8Array): void {
    const nar = this.#nars.get(narHash)
    if (nar !== undefined) this.#nars.set(narHash, { ...nar, listing })
  }

  readonly source = Layer.succeed(ClosureSource, {
    trees: () => Effect.succeed([]),
    nars: (narHashes) => {
      this.asked.push(narHashes)
      return Effect.forEach(narHashes, (narHash) => {
        const nar = this.#nars.get(narHash)
        return nar === undefined
          ? Effect.fail(new SandboxError({ operation: "finding inputs", detail: narHash }))
          : Effect.succeed(nar)
      })
    }
  })
}

export const pathOf = (index: number) => StorePath.make(`${"0123456789abcdf"[index % 15]!.repeat(32)}-path-${index}`)

export const layer = (store: Store, launch: Launch = unjailed) =>
  BlockServer.layer(launch).pipe(Layer.provide(store.source))
