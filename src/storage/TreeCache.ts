/**
 * Unpacked store objects for the `process` backend, made from NARs when first wanted.
 *
 * A tree bears Nix's canonical metadata (mtime 1, modes 0444 and 0555). It is pinned by the scope that asked for it;
 * trees that nobody pins are removed, least recently used first, once together they exceed the budget.
 *
 * On disk a tree is `<data>/trees/<NAR hash>-<bytes>`. It gets that name when it is whole, and loses it before it is
 * removed. Trees are not synced, since they can be made again: those that the system may have lost parts of in a crash,
 * because it has been started since, are not used.
 */
import { Clock, Context, Deferred, Effect, Layer, Schema, type Scope, Semaphore } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { Reader } from "../protocol/nar/Reader.ts"
import { Sha256 } from "../protocol/nix/Hash.ts"
import { WireError } from "../protocol/wire/Codec.ts"
import { NarStore } from "./NarStore.ts"
import { Damaged, file, fileError, StorageError } from "./StorageError.ts"
import { removeTree } from "./tree/removeTree.ts"
import { TreeWriter } from "./tree/TreeWriter.ts"

export interface TreeCacheOptions {
  readonly dataDirectory: string
  /** Bytes that trees may take together while nobody pins them. */
  readonly budgetBytes: number
}

/** Given to the writer at once: some hundred small files, a few milliseconds for which everything else waits. */
const chunkBytes = 128 * 1024

/** Trees made at the same time. They compete for the one thread that makes them. */
const makingMax = 2

/** How exactly the last use is remembered over a restart. */
const touchMilliseconds = 10 * 60 * 1000

interface Tree {
  readonly narHash: Sha256
  /** Null until it is there. */
  path: string | null
  bytes: number
  pins: number
  /** Rises with every use of any tree. */
  used: number
  touchedAt: number
  readonly ready: Deferred.Deferred<string, StorageError>
}

export class TreeCache extends Context.Service<
  TreeCache,
  {
    /** Absolute paths, one for each hash, in its order. */
    readonly checkout: (
      narHashes: ReadonlyArray<Sha256>
    ) => Effect.Effect<ReadonlyArray<string>, StorageError, Scope.Scope>
  }
>()("drover/storage/TreeCache") {
  static readonly layer = (options: TreeCacheOptions): Layer.Layer<TreeCache, StorageError, NarStore> =>
    Layer.effect(TreeCache, make(options))
}

const make = Effect.fnUntraced(function* ({ budgetBytes, dataDirectory }: TreeCacheOptions) {
  const nars = yield* NarStore
  const directory = path.resolve(dataDirectory, "trees")
  const owner = yield* Effect.scope
  const making = yield* Semaphore.make(makingMax)
  const trees = new Map<Sha256, Tree>()
  let uses = 0
  let total = 0

  /** In the background, and not to the end if the server ends: what has lost its name is found at the next start. */
  const discard = (name: string) =>
    Effect.tryPromise({
      try: () => removeTree(name),
      catch: (error) => fileError("removing a tree", name, error)
    }).pipe(
      Effect.catch((error) => Effect.logWarning("a tree is left over", error)),
      Effect.forkIn(owner),
      Effect.asVoid
    )

  const newTree = (narHash: Sha256): Tree => {
    const tree = {
      narHash,
      path: null,
      bytes: 0,
      pins: 0,
      used: uses++,
      touchedAt: 0,
      ready: Deferred.makeUnsafe<string, StorageError>()
    }
    trees.set(narHash, tree)
    return tree
  }

  const isThere = (tree: Tree, name: string, bytes: number) => {
    tree.path = name
    tree.bytes = bytes
    total += bytes
    Deferred.doneUnsafe(tree.ready, Effect.succeed(name))
  }

  for (const left of yield* leftOver(directory)) {
    if (left._tag === "Tree") isThere(newTree(left.narHash), left.name, left.bytes)
    else yield* discard(left.name)
  }

  /** Makes room for what has come, if anything can go. */
  const evict = Effect.gen(function* () {
    while (total > budgetBytes) {
      const unpinned = [...trees.values()].filter((tree) => tree.path !== null && tree.pins === 0)
      const oldest = unpinned.reduce<Tree | null>((a, b) => (a === null || b.used < a.used ? b : a), null)
      if (oldest === null || oldest.path === null) return
      const { bytes, narHash, path: whole } = oldest
      const name = path.join(directory, `.old-${randomUUID()}`)
      // In one go: whoever asks for it next finds neither the entry nor the name, and makes it anew.
      yield* file("removing a tree", whole, async () => {
        trees.delete(narHash)
        total -= bytes
        fs.renameSync(whole, name)
      })
      yield* discard(name)
    }
  }).pipe(Effect.catch((error) => Effect.logWarning("a tree is left over", error)))

  /** Goes on when whoever asked first gives up: others may have asked since. */
  const unpack = (tree: Tree) =>
    unpackNar(nars, tree.narHash, path.join(directory, `.new-${randomUUID()}`)).pipe(
      Effect.flatMap(({ bytes, name }) => {
        const final = path.join(directory, `${tree.narHash}-${bytes}`)
        return file("naming a tree", final, async () => {
          fs.renameSync(name, final)
          isThere(tree, final, bytes)
        })
      }),
      Effect.onError((cause) =>
        Effect.sync(() => {
          trees.delete(tree.narHash)
          Deferred.doneUnsafe(tree.ready, Effect.failCause(cause))
        })
      ),
      Effect.andThen(evict),
      Effect.ignore,
      (unpacking) => making.withPermit(unpacking),
      Effect.forkIn(owner)
    )

  const pin = Effect.fnUntraced(function* (narHash: Sha256) {
    const now = yield* Clock.currentTimeMillis
    const tree = yield* Effect.acquireRelease(
      Effect.gen(function* () {
        const known = trees.get(narHash)
        const tree = known ?? newTree(narHash)
        tree.pins += 1
        tree.used = uses++
        if (known === undefined) yield* unpack(tree)
        return tree
      }),
      (tree) =>
        Effect.suspend(() => {
          tree.pins -= 1
          return evict
        })
    )
    const name = yield* Deferred.await(tree.ready)
    if (now - tree.touchedAt > touchMilliseconds) {
      tree.touchedAt = now
      // Leaves what it sets as it is, and the time of the change behind.
      yield* file("using a tree", name, async () => fs.lutimesSync(name, 1, 1))
    }
    return name
  })

  yield* evict
  return {
    checkout: Effect.fn("TreeCache.checkout")((narHashes: ReadonlyArray<Sha256>) =>
      Effect.forEach(narHashes, pin, { concurrency: 16 })
    )
  }
})

type LeftOver =
  | { readonly _tag: "Tree"; readonly narHash: Sha256; readonly name: string; readonly bytes: number }
  | { readonly _tag: "Remains"; readonly name: string }

const isSha256 = Schema.is(Sha256)

/** What the last server left, least recently used first. */
const leftOver = Effect.fnUntraced(function* (directory: string) {
  return yield* file("preparing the trees", directory, async (): Promise<ReadonlyArray<LeftOver>> => {
    fs.mkdirSync(directory, { recursive: true })
    const bootFile = path.join(directory, ".boot")
    const boot = readOr("/proc/sys/kernel/random/boot_id", "")
    const isSameBoot = boot !== "" && readOr(bootFile, "") === boot
    fs.writeFileSync(bootFile, boot)

    const found = fs.readdirSync(directory).filter((name) => name !== ".boot")
    const aged = found.map((name) => ({ name, ctime: fs.lstatSync(path.join(directory, name)).ctimeMs }))
    return aged
      .sort((a, b) => a.ctime - b.ctime)
      .map(({ name }): LeftOver => {
        const [, narHash, bytes] = /^(.*)-(\d+)$/.exec(name) ?? []
        const whole = path.join(directory, name)
        if (isSameBoot && isSha256(narHash) && bytes !== undefined) {
          return { _tag: "Tree", narHash, name: whole, bytes: Number(bytes) }
        }
        // Its name may be wanted before it is removed.
        const unnamed = path.join(directory, `.old-${randomUUID()}`)
        fs.renameSync(whole, unnamed)
        return { _tag: "Remains", name: unnamed }
      })
  })
})

const readOr = (name: string, otherwise: string): string => {
  try {
    return fs.readFileSync(name, "utf8")
  } catch {
    return otherwise
  }
}

/** Unpacks it under this name, or leaves nothing. */
const unpackNar = Effect.fn("TreeCache.unpack")(function* (nars: NarStore["Service"], narHash: Sha256, name: string) {
  const source = yield* nars.open(narHash)
  const writer = new TreeWriter(name)
  const reader = new Reader(writer)
  yield* Effect.addFinalizer((exit) =>
    Effect.promise(async () => {
      writer.close()
      if (exit._tag === "Failure") await removeTree(name).catch(() => {})
    })
  )
  while (!reader.done) {
    const chunk = (yield* source.peek).subarray(0, chunkBytes)
    const used = yield* Effect.try({
      try: () => {
        if (chunk.length === 0) reader.end()
        return reader.push(chunk)
      },
      catch: (error) => unpackError(narHash, name, error)
    })
    source.advance(used)
    yield* Effect.yieldNow
  }
  return { name, bytes: writer.bytes }
}, Effect.scoped)

const unpackError = (narHash: Sha256, name: string, error: unknown): StorageError =>
  error instanceof WireError
    ? new StorageError({
        operation: "unpacking a NAR",
        cause: new Damaged({ what: `NAR ${narHash}`, expected: error.expected, found: error.found })
      })
    : fileError("unpacking a NAR", name, error)
